package serving.flink;

import org.apache.beam.vendor.grpc.v1p69p0.com.google.protobuf.Duration;

/** For how long what is left of a splittable DoFn's work waits. */
public final class ResidualDelay {

  private ResidualDelay() {}

  /**
   * The delay that was asked for, in milliseconds.
   *
   * <p>Beam's handler takes the whole seconds only: whoever asks for 30 ms goes on at once, and asks again, with a whole core.
   */
  public static long milliseconds(Duration delay) {
    return delay.getSeconds() * 1000 + delay.getNanos() / 1_000_000;
  }
}
