/// The process's descriptors, threads and processor time.
import Glibc
import MillraceTestSupport

enum Probe {
    /// The open descriptors, without the one that this call uses.
    static var descriptors: Int { names(in: "/proc/self/fd").count - 1 }

    /// Threads of this process.
    static var threads: Int { names(in: "/proc/self/task").count }

    /// The mapped stacks of threads. That of a thread which was neither joined nor detached stays.
    static var stacks: Int {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_STACK.rawValue), &limit)
        let lines = readText("/proc/self/maps")?.split(separator: "\n") ?? []
        return lines.count { line in
            let ends = line.prefix { $0 != " " }.split(separator: "-")
            guard ends.count == 2, let start = UInt(ends[0], radix: 16),
                let end = UInt(ends[1], radix: 16)
            else { return false }
            return end - start == UInt(limit.rlim_cur) && line.contains(" rw-p ")
        }
    }

    /// Processor time of the whole process so far.
    static var processorTime: Duration {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }

    /// The share of one processor that this process used while the caller slept.
    static func processorShare(over time: Duration) -> Double {
        let before = processorTime
        let slept = elapsed { pause(time) }
        return (processorTime - before) / slept
    }

    /// Sanitizers multiply time and memory, so figures are not checked under them; behaviour still
    /// is.
    static let isSanitized = hasSymbol("__asan_init") || hasSymbol("__tsan_init")

    private static func hasSymbol(_ name: String) -> Bool { dlsym(nil, name) != nil }

    /// Raises the soft limit of descriptors to `count` if the hard one allows it; true if it is
    /// reached.
    static func allowDescriptors(_ count: Int) -> Bool {
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        guard getrlimit(resource, &limit) == 0 else { return false }
        if Int(limit.rlim_cur) >= count { return true }
        limit.rlim_cur = rlim_t(count)
        limit.rlim_max = max(limit.rlim_max, rlim_t(count))
        return setrlimit(resource, &limit) == 0
    }
}
