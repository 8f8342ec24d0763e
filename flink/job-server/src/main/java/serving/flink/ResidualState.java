package serving.flink;

import java.lang.reflect.Field;
import org.apache.beam.runners.core.StateInternals;
import org.apache.beam.runners.core.StateNamespace;
import org.apache.beam.runners.core.StateNamespaces;
import org.apache.beam.runners.core.StateNamespaces.WindowNamespace;
import org.apache.beam.runners.core.StateTag;
import org.apache.beam.runners.core.StateTags;
import org.apache.beam.sdk.coders.Coder;
import org.apache.beam.sdk.state.State;
import org.apache.beam.sdk.state.ValueState;
import org.apache.beam.sdk.transforms.windowing.BoundedWindow;

/** The state that keeps the rest of a splittable DoFn's work until it is resumed. */
public final class ResidualState {

  private static final String NAME = "sdf_checkpoint";

  private ResidualState() {}

  /**
   * The state of one residual.
   *
   * <p>Beam's handler creates a new state for each residual and never clears it, so a source that pauses thirty times
   * per second makes every checkpoint larger than the previous one. Here, all residuals share one state, in which each
   * has its own namespace, and reading a residual clears it.
   *
   * @param internals the state of the residual's key
   * @param namespace the namespace of its window
   * @param tag the tag, named after the residual: {@code sdf_checkpoint:BUNDLE:INDEX}
   */
  public static <T extends State> State state(StateInternals internals, StateNamespace namespace, StateTag<T> tag) {
    @SuppressWarnings("unchecked")
    ValueState<Object> all =
        (ValueState<Object>)
            internals.state(ofResidual(namespace, tag.getId()), StateTags.tagForSpec(NAME, tag.getSpec()));
    return new ReadOnce(all);
  }

  /**
   * The namespace of a residual. It is one of a trigger, with a number derived from the residual's name, because
   * Flink's state can only serialize the namespaces that Beam knows.
   */
  private static <W extends BoundedWindow> StateNamespace ofResidual(StateNamespace namespace, String residual) {
    @SuppressWarnings("unchecked")
    WindowNamespace<W> window = (WindowNamespace<W>) namespace;
    return StateNamespaces.windowAndTrigger(coderOf(window), window.getWindow(), residual.hashCode() & 0x7fffffff);
  }

  private static <W extends BoundedWindow> Coder<W> coderOf(WindowNamespace<W> namespace) {
    try {
      Field field = WindowNamespace.class.getDeclaredField("windowCoder");
      field.setAccessible(true);
      @SuppressWarnings("unchecked")
      Coder<W> coder = (Coder<W>) field.get(namespace);
      return coder;
    } catch (ReflectiveOperationException error) {
      throw new IllegalStateException("This Beam keeps the coder of a window's namespace elsewhere.", error);
    }
  }

  /** A state that is cleared by reading it. */
  private static final class ReadOnce implements ValueState<Object> {

    private final ValueState<Object> state;

    ReadOnce(ValueState<Object> state) {
      this.state = state;
    }

    @Override
    public Object read() {
      Object value = state.read();
      state.clear();
      return value;
    }

    @Override
    public void write(Object value) {
      state.write(value);
    }

    @Override
    public ValueState<Object> readLater() {
      return this;
    }

    @Override
    public void clear() {
      state.clear();
    }
  }
}
