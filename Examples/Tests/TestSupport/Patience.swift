/// How long a test waits for what should come soon.
import Glibc

public enum Patience {
    /// So many, or what MILLRACE_TEST_PATIENCE says if that is more: slow machines and sanitizers
    /// need longer.
    public static func seconds(atLeast seconds: Int) -> Int { max(seconds, wanted) }

    private static let wanted =
        getenv("MILLRACE_TEST_PATIENCE").flatMap { Int(String(cString: $0)) } ?? 0
}
