package serving.flink;

import org.apache.beam.sdk.coders.Coder;
import org.apache.beam.sdk.coders.IterableCoder;
import org.apache.beam.sdk.values.WindowedValues.WindowedValueCoder;

/** The coder of the state in which a streaming side input is kept. */
public final class SideInputStateCoder {

  private SideInputStateCoder() {}

  /**
   * The coder of all values that a view has in one window.
   *
   * <p>Beam's SideInputHandler takes the coder of a view for the one of its elements. That holds for pipelines in Java.
   * For portable ones the view has the coder of what the stream carries: a windowed value whose value already is the
   * iterable; the state holds that value.
   *
   * @param viewCoder what the view calls its coder
   */
  public static Coder<?> of(Coder<?> viewCoder) {
    if (viewCoder instanceof WindowedValueCoder) {
      return ((WindowedValueCoder<?>) viewCoder).getValueCoder();
    }
    return IterableCoder.of(viewCoder);
  }
}
