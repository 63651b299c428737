// An HTTP/1.1 server with a few fixed responses and the files of a folder. At SIGTERM or SIGINT, it
// answers the requests that it has received and exits with 0.
import ArgumentParser
import NetAPI
import ServerCommand
import ServerTLS

@main
struct HTTPServer: ServerCommand {
    static let configuration = CommandConfiguration(
        commandName: "http-server",
        abstract: "Serves /plaintext, /json, /echo, /metrics and files over HTTP/1.1.")

    @OptionGroup var common: ServerOptions
    @OptionGroup var tls: TLSOptions

    @Option(help: "The folder whose files are served.")
    var root: String?

    @Option(help: "Milliseconds to receive the head of a request.")
    var headTimeout = 10_000

    @Option(help: "Milliseconds to receive the body of a request; --body-rate adds time.")
    var bodyTimeout = 30_000

    @Option(help: "The number of received bytes that adds one second to --body-timeout.")
    var bodyRate = 1000

    @Option(help: "Milliseconds for a client to read a response; --response-rate adds time.")
    var responseTimeout = 30_000

    @Option(help: "The number of bytes that adds one second to --response-timeout.")
    var responseRate = 1000

    @Option(help: "Milliseconds of silence after which an idle connection is closed.")
    var idleTimeout = 60_000

    @Option(help: "The file that gets a line for each request; - is the standard output.")
    var accessLog: String?

    func validate() throws {
        for value in [headTimeout, bodyTimeout, responseTimeout, idleTimeout] where value <= 0 {
            throw ValidationError("a time-out of \(value) ms; give at least 1")
        }
        for rate in [bodyRate, responseRate] where rate <= 0 {
            throw ValidationError("a rate of \(rate) bytes; give at least 1")
        }
    }

    /// The library's options for these settings.
    func serverOptions() throws -> Options {
        var options = try tls.apply(to: common.options(), protocols: ["http/1.1"])
        options.timeouts.idle = .milliseconds(idleTimeout)
        // The last response of a connection has as much time as any other.
        options.timeouts.close = .milliseconds(max(idleTimeout, responseTimeout))
        return options
    }

    func run() throws {
        var settings = HTTPSettings(files: try root.map { try StaticFiles(root: $0) })
        settings.headTimeout = .milliseconds(headTimeout)
        settings.accessLog = try accessLog.map { try AccessLogFile(path: $0) }
        settings.body = TransferLimit(
            timeout: .milliseconds(bodyTimeout), bytesPerSecond: bodyRate)
        settings.response = TransferLimit(
            timeout: .milliseconds(responseTimeout), bytesPerSecond: responseRate)
        let options = try serverOptions()
        let server = try Server(listen: try common.addresses(), options: options) { [settings] in
            HTTPHandler(settings)
        }
        let reason = try server.run(stoppingOn: .interrupt, .terminate)
        if case .failed(let error) = reason { throw error }
    }
}
