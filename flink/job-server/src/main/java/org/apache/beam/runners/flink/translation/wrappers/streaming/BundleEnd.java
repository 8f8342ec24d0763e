package org.apache.beam.runners.flink.translation.wrappers.streaming;

/**
 * When a bundle of a Python stage ends. In Beam's package, because the methods that end a bundle are not public.
 */
public final class BundleEnd {

  private BundleEnd() {}

  /**
   * Sets the callback before each bundle, as the operator's own method does, and also ends each bundle a millisecond
   * after its start.
   *
   * <p>An operator hands its elements over to the worker when the bundle ends. Beam ends it at the next tick of a clock
   * of half the longest bundle's time, and not before that time has passed since the last one ended, however long
   * nothing has arrived. Each stage then adds that time to the latency, and every task pays for the ticks of a faster
   * clock. An operator takes the elements that have arrived in less than a millisecond, so a bundle of one millisecond is
   * as large as the elements that were waiting: it grows with the load.
   */
  public static void setPreBundleCallback(DoFnOperator<?, ?, ?> operator, Runnable callback) {
    operator.setPreBundleCallback(
        () -> {
          callback.run();
          // Flink's timers fire one millisecond late.
          operator.scheduleForCurrentProcessingTime(time -> end(operator));
        });
  }

  private static void end(DoFnOperator<?, ?, ?> operator) {
    operator.invokeFinishBundle();
    operator.updateOutputWatermark();
  }
}
