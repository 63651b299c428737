import Glibc

/// The process's limit of open descriptors, raised for one test as far as the hard limit allows.
struct DescriptorLimit {
    private static let resource = __rlimit_resource_t(7)  // RLIMIT_NOFILE
    private let earlier: rlimit
    let count: Int

    init(raisedTo wanted: Int) {
        var limit = rlimit()
        getrlimit(Self.resource, &limit)
        earlier = limit
        limit.rlim_cur = min(max(rlim_t(wanted), limit.rlim_cur), limit.rlim_max)
        setrlimit(Self.resource, &limit)
        count = Int(clamping: limit.rlim_cur)
    }

    func restore() {
        var limit = earlier
        setrlimit(Self.resource, &limit)
    }
}
