package serving.h2o;

import hex.genmodel.MojoModel;
import hex.genmodel.GenModel;
import java.util.Arrays;

/** Scores a batch in one call: crossing from Python to Java for each record takes twenty times as long. */
public final class Batches {
  private Batches() {}

  /**
   * Scores rows as EasyPredictModelWrapper does.
   *
   * @param columns the features one after another, each with a number for each row; a category is the number of its
   *     level, and NaN is a missing value.
   * @return for each row what score0 gives, one after another; its size is that of getPredsSize.
   */
  public static double[] score(MojoModel model, double[] columns, int rows) {
    int features = model.nfeatures();
    int size = size(model);
    double[] row = new double[features];
    double[] found = new double[rows * size];
    // genmodel does not promise that threads may share a model.
    synchronized (model) {
      for (int r = 0; r < rows; r++) {
        for (int f = 0; f < features; f++) {
          row[f] = columns[f * rows + r]; // filled for each row, because some models change it
        }
        double[] one = model.score0(row, new double[size]);
        System.arraycopy(one, 0, found, r * size, size);
      }
    }
    return found;
  }

  /** How many numbers score gives for each row. */
  public static int size(MojoModel model) {
    return model.getPredsSize(model.getModelCategory());
  }

  /** Whether the model brings along a calibration of its probabilities. */
  public static boolean isCalibrated(MojoModel model) {
    return calibrated(model, new double[size(model)]);
  }

  /** Calibrates what score gave for a model that isCalibrated. */
  public static double[] calibrate(MojoModel model, double[] scored, int rows) {
    int size = size(model);
    double[] found = new double[scored.length];
    synchronized (model) {
      for (int r = 0; r < rows; r++) {
        double[] one = Arrays.copyOfRange(scored, r * size, (r + 1) * size);
        calibrated(model, one);
        System.arraycopy(one, 0, found, r * size, size);
      }
    }
    return found;
  }

  private static boolean calibrated(GenModel model, double[] row) {
    return model.calibrateClassProbabilities(row);
  }
}
