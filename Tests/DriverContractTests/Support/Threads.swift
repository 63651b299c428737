import Glibc
import MillraceTestSupport

/// Runs `body` to its end on a thread with its own descriptor table, empty except for the standard
/// three. There `body` can use the last descriptor without affecting other tests of the process.
func withOwnDescriptors<Result>(_ body: @escaping () -> Result) -> Result {
    // Unsafe: only one thread runs at a time, since this one waits for the other.
    nonisolated(unsafe) var result: Result?
    // Unsafe for the same reason.
    nonisolated(unsafe) let body = body
    // Not declared without _GNU_SOURCE.
    typealias CloseRange = @convention(c) (CUnsignedInt, CUnsignedInt, CInt) -> CInt
    guard let symbol = dlsym(nil, "close_range") else {
        preconditionFailure("this C library has no close_range")
    }
    let closeRange = unsafeBitCast(symbol, to: CloseRange.self)
    let unshare: CInt = 2  // CLOSE_RANGE_UNSHARE
    let thread = TestThread {
        let status = closeRange(3, .max, unshare)
        precondition(status == 0, "close_range: errno \(errno)")
        result = body()
    }
    thread.join()
    return result!
}
