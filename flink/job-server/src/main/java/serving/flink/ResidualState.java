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

/** Where what is left of a splittable DoFn's work waits until it goes on. */
public final class ResidualState {

  private static final String NAME = "sdf_checkpoint";

  private ResidualState() {}

  /**
   * The state of one residual.
   *
   * <p>Beam's handler names a new state for each residual and never clears it: a source that pauses thirty times a
   * second makes every checkpoint larger than the one before. Here all residuals are in one state, each in a namespace
   * of its own, which is cleared when the residual is read.
   *
   * @param internals the state of the residual's key
   * @param namespace that of its window
   * @param tag named after the residual: {@code sdf_checkpoint:BUNDLE:INDEX}
   */
  public static <T extends State> State state(StateInternals internals, StateNamespace namespace, StateTag<T> tag) {
    @SuppressWarnings("unchecked")
    ValueState<Object> all =
        (ValueState<Object>)
            internals.state(ofResidual(namespace, tag.getId()), StateTags.tagForSpec(NAME, tag.getSpec()));
    return new ReadOnce(all);
  }

  /** A namespace that Flink's state can write and read again: the one of a trigger, numbered as the residual is. */
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

  /** Empty after it was read. */
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
