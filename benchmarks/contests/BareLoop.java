import hex.genmodel.MojoModel;

/** What a Java program writes that has its rows ready: genmodel's score0 in a loop. */
public final class BareLoop {
  private BareLoop() {}

  public static double[][] score(MojoModel model, double[][] rows) {
    int size = model.getPredsSize(model.getModelCategory());
    double[][] found = new double[rows.length][];
    for (int r = 0; r < rows.length; r++) {
      found[r] = model.score0(rows[r], new double[size]);
    }
    return found;
  }
}
