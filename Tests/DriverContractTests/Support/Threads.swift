import Glibc

/// Threads for the parts of a test outside its own thread. Not from a pool, whose threads other
/// tests share.
// Unchecked: each closure is handed to one thread and not kept.
private final class ThreadBody: @unchecked Sendable {
    let run: () -> Void
    init(_ run: @escaping () -> Void) { self.run = run }
}

@discardableResult
func startThread(_ body: @escaping () -> Void) -> pthread_t {
    var thread = pthread_t()
    let box = Unmanaged.passRetained(ThreadBody(body))
    let status = pthread_create(
        &thread, nil,
        { argument in
            Unmanaged<ThreadBody>.fromOpaque(argument!).takeRetainedValue().run()
            return nil
        }, box.toOpaque())
    precondition(status == 0, "no thread: errno \(status)")
    return thread
}

/// Runs `body` to its end on a thread with its own descriptor table, empty except for the standard
/// three. There `body` can use the last descriptor without affecting other tests of the process.
func withOwnDescriptors<Result>(_ body: @escaping () -> Result) -> Result {
    var result: Result?
    // Not declared without _GNU_SOURCE.
    typealias CloseRange = @convention(c) (CUnsignedInt, CUnsignedInt, CInt) -> CInt
    guard let symbol = dlsym(nil, "close_range") else {
        preconditionFailure("this C library has no close_range")
    }
    let closeRange = unsafeBitCast(symbol, to: CloseRange.self)
    let unshare: CInt = 2  // CLOSE_RANGE_UNSHARE
    let thread = startThread {
        let status = closeRange(3, .max, unshare)
        precondition(status == 0, "close_range: errno \(errno)")
        result = body()
    }
    pthread_join(thread, nil)
    return result!
}

/// The number of open descriptors in this thread's table.
func openDescriptorCount() -> Int {
    guard let stream = opendir("/proc/thread-self/fd") else { return -1 }
    defer { closedir(stream) }
    var count = 0
    while readdir(stream) != nil { count += 1 }
    return count
}
