// An HTTP/1.1 server: a few fixed answers, and the files of a folder, until SIGTERM or SIGINT; then
// it answers what it has and exits 0.
import ArgumentParser
import NetAPI
import ServerCommand

@main
struct HTTPServer: ServerCommand {
    static let configuration = CommandConfiguration(
        commandName: "http-server",
        abstract: "Serves /plaintext, /json, /echo, /metrics and files over HTTP/1.1.")

    @OptionGroup var common: ServerOptions

    @Option(help: "Serve the files of this folder.")
    var root: String?

    @Option(help: "For a request's head, in milliseconds.")
    var headTimeout = 10_000

    @Option(help: "For a request's body, in milliseconds.")
    var bodyTimeout = 30_000

    @Option(help: "Between requests, in milliseconds.")
    var idleTimeout = 60_000

    func validate() throws {
        for value in [headTimeout, bodyTimeout, idleTimeout] where value <= 0 {
            throw ValidationError("a time-out of \(value) ms; give at least 1")
        }
    }

    func run() throws {
        Draining.blockSignals()
        let draining = Draining(limitSeconds: 10)
        var settings = HTTPSettings(
            files: try root.map { try StaticFiles(root: $0) }, draining: draining)
        settings.headTimeout = .milliseconds(headTimeout)
        settings.bodyTimeout = .milliseconds(bodyTimeout)
        var options = try common.options()
        options.timeouts.idle = .milliseconds(idleTimeout)
        let server = try makeServer(try common.addresses(), options, settings)
        try server.start()
        announce(server)
        draining.stopOnSignal(server)
        let reason = try server.run()
        if case .failed(let error) = reason { throw error }
    }

    /// A handler per loop can be had for addresses that are spelt out only, not for a list.
    private func makeServer(
        _ addresses: [Address], _ options: Options, _ settings: HTTPSettings
    ) throws -> Server {
        let make = { @Sendable () -> HTTPHandler in HTTPHandler(settings) }
        var rest = addresses.makeIterator()
        guard let first = rest.next() else { throw ValidationError("no address to listen on") }
        guard let second = rest.next() else {
            return try Server(listen: first, options: options, perLoop: make)
        }
        guard let third = rest.next() else {
            return try Server(listen: first, second, options: options, perLoop: make)
        }
        guard rest.next() == nil else { throw ValidationError("at most three addresses") }
        return try Server(listen: first, second, third, options: options, perLoop: make)
    }
}
