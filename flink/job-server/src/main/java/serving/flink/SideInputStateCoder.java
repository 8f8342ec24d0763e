package serving.flink;

import org.apache.beam.sdk.coders.Coder;
import org.apache.beam.sdk.coders.IterableCoder;
import org.apache.beam.sdk.values.WindowedValues.WindowedValueCoder;

/** The coder of the state that keeps a streaming side input. */
public final class SideInputStateCoder {

  private SideInputStateCoder() {}

  /**
   * The coder of all values that a view has in one window.
   *
   * <p>Beam's SideInputHandler assumes that the coder of a view is that of its elements. This is true for pipelines in
   * Java. In portable pipelines, the view has the coder of the stream's elements: windowed values whose value
   * already is the iterable. The state holds that iterable.
   *
   * @param viewCoder the coder of the view
   */
  public static Coder<?> of(Coder<?> viewCoder) {
    if (viewCoder instanceof WindowedValueCoder) {
      return ((WindowedValueCoder<?>) viewCoder).getValueCoder();
    }
    return IterableCoder.of(viewCoder);
  }
}
