/// Servers as services of a `ServiceGroup`, with the trait `ServiceLifecycle`.
public import NetAPI

#if ServiceLifecycle
public import ServiceLifecycle

extension Server: Service {
    /// Runs the server as a service: starts it, serves, and returns once it has stopped. Blocks no
    /// thread of the pool. A graceful shutdown of the group and a cancelled task both drain the
    /// server, for at most 10 s; `service(drainingWithin:)` has another limit. Either may come
    /// before or during the start.
    ///
    /// Throws the errors of `start()`, and the error with which a loop ended. Returns after a stop
    /// that was requested, by the group or by the program.
    // Disfavoured, so that `server.run()` keeps its meaning where this module is imported: it
    // returns the reason of the end.
    @_disfavoredOverload
    public func run() async throws {
        try await runAsService(drainingWithin: .seconds(10))
    }

    /// Returns the server as a service like the server itself, but with this limit for the drain.
    ///
    /// The service is made from the server, since `ServiceGroup` calls `run()` without arguments,
    /// and since the limit belongs to the program's end rather than to the server's options.
    public func service(drainingWithin limit: Duration) -> some Service {
        DrainingService(server: self, limit: limit)
    }

    /// Runs the server until the end of its service.
    func runAsService(drainingWithin limit: Duration) async throws {
        let reason = try await withGracefulShutdownHandler {
            try await run(drainingWithin: limit)
        } onGracefulShutdown: { [self] in
            requestStop(within: limit)
        }
        if case .failed(let error) = reason { throw error }
    }
}

/// A server, or the loops of a client, with the limit for its drain.
struct DrainingService: Service {
    let server: Server
    let limit: Duration

    func run() async throws { try await server.runAsService(drainingWithin: limit) }
}
#else
extension Server {
    /// Exists with the trait only.
    @available(
        *, unavailable,
        message: "give the dependency on millrace traits: [\"ServiceLifecycle\"]"
    )
    public func service(drainingWithin limit: Duration) {}
}
#endif
