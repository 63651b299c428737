/// Clients as services of a `ServiceGroup`, with the trait `ServiceLifecycle`.
public import NetAPI

#if ServiceLifecycle
public import ServiceLifecycle

extension Client: Service {
    /// Runs the client as a service: starts it, and returns once it has stopped. Blocks no thread
    /// of the pool. A graceful shutdown of the group and a cancelled task both close the
    /// connections gracefully, in at most 10 s; `service(drainingWithin:)` has another limit.
    ///
    /// Services of a group start at the same time, and `connect` throws `.closed` before the start
    /// of the client. So call `start()` before the group runs, if another service connects at once.
    /// This method then only waits.
    ///
    /// Throws the errors of `start()`, and the error with which a loop ended.
    public func run() async throws {
        try await core.runAsService(drainingWithin: .seconds(10))
    }

    /// Returns the client as a service like the client itself, but with this limit for the close of
    /// its connections.
    public func service(drainingWithin limit: Duration) -> some Service {
        DrainingService(server: core, limit: limit)
    }
}
#else
extension Client {
    /// Exists with the trait only.
    @available(
        *, unavailable,
        message: "give the dependency on millrace traits: [\"ServiceLifecycle\"]"
    )
    public func service(drainingWithin limit: Duration) {}
}
#endif
