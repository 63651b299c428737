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

    @Option(help: "For a request's body, in milliseconds; more by what has come of it.")
    var bodyTimeout = 30_000

    @Option(help: "For every so many bytes of a body that have come a second more.")
    var bodyRate = 1000

    @Option(help: "For a response to be taken, in milliseconds; more by its length.")
    var responseTimeout = 30_000

    @Option(help: "For every so many bytes of a response a second more.")
    var responseRate = 1000

    @Option(help: "Between requests, in milliseconds.")
    var idleTimeout = 60_000

    @Option(help: "Add a line for each request to this file; - is the standard output.")
    var accessLog: String?

    func validate() throws {
        for value in [headTimeout, bodyTimeout, responseTimeout, idleTimeout] where value <= 0 {
            throw ValidationError("a time-out of \(value) ms; give at least 1")
        }
        for rate in [bodyRate, responseRate] where rate <= 0 {
            throw ValidationError("a rate of \(rate) bytes; give at least 1")
        }
    }

    func run() throws {
        var settings = HTTPSettings(files: try root.map { try StaticFiles(root: $0) })
        settings.headTimeout = .milliseconds(headTimeout)
        settings.accessLog = try accessLog.map { try AccessLogFile(path: $0) }
        settings.body = TransferLimit(
            timeout: .milliseconds(bodyTimeout), bytesPerSecond: bodyRate)
        settings.response = TransferLimit(
            timeout: .milliseconds(responseTimeout), bytesPerSecond: responseRate)
        var options = try common.options()
        options.timeouts.idle = .milliseconds(idleTimeout)
        // The last response of a connection may take as long as any other. A peer that was silent
        // for longer than an idle one may be will hardly take what it is still owed.
        options.timeouts.close = max(
            min(options.timeouts.close, .milliseconds(idleTimeout)),
            .milliseconds(responseTimeout))
        let server = try Server(listen: try common.addresses(), options: options) { [settings] in
            HTTPHandler(settings)
        }
        try server.start()
        announce(server)
        let reason = try server.run(stoppingOn: .interrupt, .terminate)
        if case .failed(let error) = reason { throw error }
    }
}
