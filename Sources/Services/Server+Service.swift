/// Servers as services of a `ServiceGroup`, with the trait `ServiceLifecycle`.
#if ServiceLifecycle
public import NetAPI
public import ServiceLifecycle
internal import Synchronization

extension Server: Service {
    /// Runs the server as a service: starts it, serves, and returns once it has stopped. Blocks no
    /// thread of the pool. A graceful shutdown of the group and a cancelled task both drain the
    /// server, for at most 10 s; `service(drainingWithin:)` has another limit. Either may come
    /// before or during the start. A cancellation after a shutdown ends the drain at once.
    ///
    /// Throws the errors of `start()`, and the error with which a loop has ended the server.
    /// Returns after a stop that was requested first, by the group or by the program.
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
        let shutdown = Shutdown()
        let reason = try await withGracefulShutdownHandler {
            try await withTaskCancellationHandler {
                try await run(drainingWithin: limit)
            } onCancel: {
                // The group's patience with its shutdown is over.
                if shutdown.hasBegun.load(ordering: .relaxed) { requestStop(within: .zero) }
            }
        } onGracefulShutdown: { [self] in
            shutdown.hasBegun.store(true, ordering: .relaxed)
            requestStop(within: limit)
        }
        if case .failed(let error) = reason { throw error }
    }
}

/// Whether a group has begun to shut down a service.
private final class Shutdown: Sendable {
    let hasBegun = Atomic(false)
}

/// A server, or the loops of a client, with the limit for its drain.
struct DrainingService: Service {
    let server: Server
    let limit: Duration

    func run() async throws { try await server.runAsService(drainingWithin: limit) }
}
#else
public import NetAPI

extension Server {
    /// Exists with the trait only.
    @available(
        *, unavailable,
        message: "give the dependency on millrace traits: [\"ServiceLifecycle\"]"
    )
    public func service(drainingWithin limit: Duration) {}
}
#endif
