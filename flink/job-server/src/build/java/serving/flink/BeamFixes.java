package serving.flink;

import java.io.IOException;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.objectweb.asm.ClassReader;
import org.objectweb.asm.ClassVisitor;
import org.objectweb.asm.ClassWriter;
import org.objectweb.asm.MethodVisitor;
import org.objectweb.asm.Opcodes;

/**
 * Fixes bugs of Beam's Flink runner that affect streaming pipelines in Python, in a finished job-server jar. Each fix
 * redirects one call in a class of Beam to one of our methods, whose documentation describes the bug. Nothing else is
 * changed.
 *
 * <p>The Maven build runs it from source: {@code java -cp ASM BeamFixes.java JAR true|false}; with false, it leaves the
 * jar unchanged.
 */
public final class BeamFixes {

  private static final String CODER = "Lorg/apache/beam/sdk/coders/Coder;";
  private static final String CORE = "org/apache/beam/runners/core/";
  private static final String FLINK = "org/apache/beam/runners/flink/translation/wrappers/streaming/";
  private static final String RESIDUALS =
      "org/apache/beam/runners/fnexecution/control/BundleCheckpointHandlers$StateAndTimerBundleCheckpointHandler";
  private static final String STATE = "L" + CORE + "StateNamespace;L" + CORE + "StateTag;)Lorg/apache/beam/sdk/state/State;";
  private static final String OUR_STATE = "(L" + CORE + "StateInternals;" + STATE;
  private static final String DELAY = "org/apache/beam/vendor/grpc/v1p69p0/com/google/protobuf/Duration";

  private static final List<Replacement> REPLACEMENTS =
      List.of(
          // A streaming side input fails every checkpoint.
          new Replacement(
              CORE + "SideInputHandler",
              new Call("org/apache/beam/sdk/coders/IterableCoder", "of", "(" + CODER + ")Lorg/apache/beam/sdk/coders/IterableCoder;"),
              new Call("serving/flink/SideInputStateCoder", "of", "(" + CODER + ")" + CODER)),
          // The rest of a splittable DoFn's work stays in the state forever. This redirects the write, the next the read.
          new Replacement(
              RESIDUALS,
              new Call(CORE + "StateInternals", "state", "(" + STATE),
              new Call("serving/flink/ResidualState", "state", OUR_STATE)),
          new Replacement(
              FLINK + "ExecutableStageDoFnOperator$SdkHarnessDoFnRunner",
              new Call(FLINK + "state/FlinkStateInternals", "state", "(" + STATE),
              new Call("serving/flink/ResidualState", "state", OUR_STATE)),
          // Pauses of less than a second are ignored. Beam multiplies the seconds by 1000 after the call; our method
          // returns milliseconds, so the factor becomes 1.
          new Replacement(
              RESIDUALS,
              new Call(DELAY, "getSeconds", "()J"),
              new Call("serving/flink/ResidualDelay", "milliseconds", "(L" + DELAY + ";)J"),
              1000L),
          // A bundle waits for a clock although nothing else has arrived.
          new Replacement(
              FLINK + "ExecutableStageDoFnOperator",
              new Call(FLINK + "DoFnOperator", "setPreBundleCallback", "(Ljava/lang/Runnable;)V"),
              new Call(FLINK + "BundleEnd", "setPreBundleCallback", "(L" + FLINK + "DoFnOperator;Ljava/lang/Runnable;)V")));

  private BeamFixes() {}

  public static void main(String[] arguments) throws IOException {
    Path jar = Path.of(arguments[0]);
    if (!Boolean.parseBoolean(arguments[1])) {
      System.out.println("Fixes of Beam: skipped, as requested");
      return;
    }
    try (FileSystem contents = FileSystems.newFileSystem(jar, (ClassLoader) null)) {
      for (Replacement replacement : REPLACEMENTS) {
        Path classFile = contents.getPath(replacement.className + ".class");
        if (!Files.exists(classFile)) {
          fail(jar, "it has no class " + replacement.className);
        }
        Files.write(classFile, replacement.apply(Files.readAllBytes(classFile), jar));
      }
    }
    System.out.println("Fixes of Beam: applied");
  }

  private static void fail(Path jar, String reason) {
    System.err.println(
        "The fixes of Beam do not fit " + jar.getFileName() + ": " + reason + ". Perhaps this Beam has a fix of its"
            + " own: build with -Dbeam.fixes=false and run tests/flink/test_beam_fixes.py; if checkpoints"
            + " complete and stay small, remove the fix from flink/job-server.");
    System.exit(1);
  }

  /** A call of a method. */
  private static final class Call {

    private final String owner;
    private final String name;
    private final String type;

    Call(String owner, String name, String type) {
      this.owner = owner;
      this.name = name;
      this.type = type;
    }
  }

  /** Replaces a call that a class makes exactly once. */
  private static final class Replacement {

    private final String className;
    private final Call old;
    private final Call ours;
    private final Object factor;

    Replacement(String className, Call old, Call ours) {
      this(className, old, ours, null);
    }

    /** Also replaces the constant right after the call by 1. */
    Replacement(String className, Call old, Call ours, Object factor) {
      this.className = className;
      this.old = old;
      this.ours = ours;
      this.factor = factor;
    }

    byte[] apply(byte[] classBytes, Path jar) {
      ClassWriter after = new ClassWriter(0);
      Visitor visitor = new Visitor(after, this);
      new ClassReader(classBytes).accept(visitor, 0);
      if (visitor.calls != 1) {
        String called = old.owner.substring(old.owner.lastIndexOf('/') + 1) + "." + old.name;
        fail(jar, className + " calls " + called + " " + visitor.calls + " times, not once");
      }
      if (factor != null && visitor.factors != 1) {
        fail(jar, className + " has no " + factor + " behind the call of " + old.name);
      }
      return after.toByteArray();
    }
  }

  /** Replaces the calls in a class, and counts them. */
  private static final class Visitor extends ClassVisitor {

    private final Replacement replacement;
    private int calls;
    private int factors;

    Visitor(ClassVisitor next, Replacement replacement) {
      super(Opcodes.ASM9, next);
      this.replacement = replacement;
    }

    @Override
    public MethodVisitor visitMethod(int access, String name, String type, String signature, String[] exceptions) {
      return new MethodVisitor(Opcodes.ASM9, super.visitMethod(access, name, type, signature, exceptions)) {
        private boolean justReplaced;

        @Override
        public void visitMethodInsn(int opcode, String owner, String called, String calledType, boolean ofInterface) {
          Call old = replacement.old;
          justReplaced = owner.equals(old.owner) && called.equals(old.name) && calledType.equals(old.type);
          if (justReplaced) {
            calls++;
            Call ours = replacement.ours;
            super.visitMethodInsn(Opcodes.INVOKESTATIC, ours.owner, ours.name, ours.type, false);
          } else {
            super.visitMethodInsn(opcode, owner, called, calledType, ofInterface);
          }
        }

        @Override
        public void visitLdcInsn(Object constant) {
          if (justReplaced && constant.equals(replacement.factor)) {
            factors++;
            super.visitInsn(Opcodes.LCONST_1);
          } else {
            super.visitLdcInsn(constant);
          }
          justReplaced = false;
        }
      };
    }
  }
}
