package serving.flink;

import org.apache.beam.vendor.grpc.v1p69p0.com.google.protobuf.Duration;

/** How long the rest of a splittable DoFn's work waits before it is resumed. */
public final class ResidualDelay {

  private ResidualDelay() {}

  /**
   * The requested delay, in milliseconds.
   *
   * <p>Beam's handler only uses the whole seconds of a delay. A source that asks for 30 ms would be resumed at once,
   * ask again, and keep a core busy.
   */
  public static long milliseconds(Duration delay) {
    return delay.getSeconds() * 1000 + delay.getNanos() / 1_000_000;
  }
}
