/// The code of docs/SERVICES.md, compiled.
import Logging
import NetAPI
import NetMetrics
import NetServices
import ServiceLifecycle
import UnixSignals

enum Article {
    static func group(_ logger: Logger) async throws {
        // example: begin group
        let server = try Server(listen: "tcp://127.0.0.1:9000") { connection in
            for try await line in connection.lines() { try await connection.write(line + "\n") }
        }
        let group = ServiceGroup(
            services: [server], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        try await group.run()
        // example: end
    }

    static func limit(_ server: Server, _ logger: Logger) async throws {
        // example: begin limit
        let group = ServiceGroup(
            services: [server.service(drainingWithin: .seconds(30))],
            gracefulShutdownSignals: [.sigterm], logger: logger)
        // example: end
        try await group.run()
    }

    static func metrics(_ server: Server, _ logger: Logger) async throws {
        // example: begin metrics
        let reporter = MetricsReporter(
            server, every: .seconds(15), dimensions: [("server", "echo")])
        let group = ServiceGroup(
            services: [reporter, server], gracefulShutdownSignals: [.sigterm], logger: logger)
        try await group.run()
        // example: end
    }

    static func logger() -> Options {
        // example: begin logger
        var logger = Logger(label: "echo")
        logger[metadataKey: "port"] = "9000"
        let options = Options().with { $0.logger = logger }
        // example: end
        return options
    }
}
