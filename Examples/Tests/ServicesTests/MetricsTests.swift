/// Tests of the reporter of metrics: every counter has a metric, and each increment comes once.
import CoreMetrics
import Glibc
import MetricsTestKit
import NetAPI
import ServiceLifecycle
import TestSupport
import Testing

@testable import NetMetrics

@Suite struct MetricsTests {
    private let metrics = TestMetrics()
    private let dimensions = [("server", "echo")]

    private func counted(_ name: String) throws -> Int64 {
        try metrics.expectCounter("millrace_\(name)_total", dimensions).totalValue
    }

    private func value(_ name: String) throws -> Double? {
        try metrics.expectGauge("millrace_\(name)", dimensions).lastValue
    }

    private func snakeCase(_ name: String) -> String {
        name.map { $0.isUppercase ? "_\($0.lowercased())" : "\($0)" }.joined()
    }

    @Test("each field of Statistics has one metric with its name, in its order")
    func table() throws {
        let zero = try Server(Echo(), listen: anyPort).statistics
        let fields = Mirror(reflecting: zero).children
        var found: [String] = []
        for metric in Metric.all {
            var changed = zero
            let ending: String
            switch metric.kind {
            case .counter(let field): (changed[keyPath: field], ending) = (7, "_total")
            case .gauge(let field): (changed[keyPath: field], ending) = (7, "")
            case .seconds(let field): (changed[keyPath: field], ending) = (.seconds(7), "_seconds")
            }
            let differing = zip(fields, Mirror(reflecting: changed).children).filter {
                "\($0.value)" != "\($1.value)"
            }
            let names = differing.compactMap { $0.0.label }
            #expect(names.map { "millrace_\(snakeCase($0))\(ending)" } == [metric.name])
            found += names
        }
        #expect(found == fields.compactMap(\.label))
    }

    @Test(
        "a report has the increments since the last one and the present values",
        arguments: Form.all)
    func increments(_ form: Form) async throws {
        let options = form.options.with {
            $0.slowTurn = .milliseconds(1)
            $0.logger = .silent
        }
        // Held for longer than the 20 ms from which the loop looks for slow turns.
        let server = try Server(
            Echo(opened: { usleep(30_000) }), listen: anyPort, options: options)
        let reporter = MetricsReporter(server, dimensions: dimensions, factory: metrics)
        reporter.report()
        #expect(try counted("accepted") == 0 && value("open") == 0)
        try server.start()
        let port = try #require(server.boundAddresses[0].port)
        var clients: [StreamSocket] = []
        for count in 1...3 {
            let client = try StreamSocket(port: port)
            try client.send("hello")
            #expect(try client.receive(as: "hello") == "hello")
            clients.append(client)
            reporter.report()
            #expect(try counted("accepted") == Int64(count) && value("open") == Double(count))
            #expect(try counted("bytes_in") == Int64(5 * count))
        }
        let counter = try metrics.expectCounter("millrace_accepted_total", dimensions)
        #expect(counter.values == [1, 1, 1])
        for client in clients { client.close() }
        await server.stop()
        reporter.report()
        reporter.report()
        #expect(counter.values == [1, 1, 1])
        #expect(try value("open") == 0)
        #expect(try counted("bytes_out") == 15)
        let longest = server.statistics.longestTurn / .seconds(1)
        #expect(try value("longest_turn_seconds") == longest && longest > 0.03)
    }

    @Test(
        "a reporter in a group reports each period, and the rest after the drain of its server",
        arguments: Form.all)
    func group(_ form: Form) async throws {
        let server = try Server(Echo(), listen: anyPort, options: form.options)
        let client = try Client(options: form.options)
        try client.start()
        let often = MetricsReporter(
            server, every: .milliseconds(1), dimensions: [("period", "short")], factory: metrics)
        // More seconds than an Int64 holds.
        let once = MetricsReporter(
            server, every: .seconds(Int64.max) * 2, dimensions: dimensions, factory: metrics)
        let ofClient = MetricsReporter(
            client, every: .seconds(3600), dimensions: [("client", "")], factory: metrics)
        let running = RunningGroup([often, once, ofClient, client, server])
        let address = try await server.address()
        try await client.withConnection(to: address) { connection in
            try await connection.write("hello")
            _ = try await connection.read(exactly: 5) { _ in }
        }
        let short = try metrics.expectGauge("millrace_open", [("period", "short")])
        try await eventually("three reports") { short.values.count > 2 }
        #expect(try counted("accepted") == 0, "the period is not over")
        try await running.shutDown()
        #expect(try counted("accepted") == 1 && counted("bytes_in") == 5 && value("open") == 0)
        let received = try metrics.expectCounter("millrace_bytes_in_total", [("client", "")])
        #expect(received.totalValue == 5)
    }

    @Test("a cancelled reporter reports a last time", arguments: Form.all)
    func cancelled(_ form: Form) async throws {
        let server = try Server(Echo(), listen: anyPort, options: form.options)
        try server.start()
        let port = try #require(server.boundAddresses[0].port)
        let client = try StreamSocket(port: port)
        try client.send("x")
        #expect(try client.receive(as: "x") == "x")
        let reporter = MetricsReporter(
            server, every: .seconds(3600), dimensions: dimensions, factory: metrics)
        let run = Task { await reporter.run() }
        run.cancel()
        try await patiently("run") { await run.value }
        #expect(try counted("accepted") == 1)
        client.close()
        await server.stop()
    }
}
