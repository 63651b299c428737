/// A way to start a server. Tests run once for each form.
public struct Form: Sendable {
    public let backend: String
    public let loops: Int

    public init(backend: String, loops: Int) {
        self.backend = backend
        self.loops = loops
    }

    public static let all = ["epoll", "io_uring"].flatMap { backend in
        [1, 2].map { Form(backend: backend, loops: $0) }
    }

    /// Whether `make hostile` prints the results of this form.
    public var isFirst: Bool { backend == "epoll" && loops == 1 }
}

extension Form: CustomStringConvertible {
    public var description: String { "\(backend), \(loops) loops" }
}
