/// The time that a test waits for an event that should come soon.
import Glibc

public enum Patience {
    /// Returns `seconds`, or the value of MILLRACE_TEST_PATIENCE if that is more. Slow machines and
    /// sanitizers need longer.
    public static func seconds(atLeast seconds: Int) -> Int { max(seconds, wanted) }

    private static let wanted =
        getenv("MILLRACE_TEST_PATIENCE").flatMap { Int(String(cString: $0)) } ?? 0
}
