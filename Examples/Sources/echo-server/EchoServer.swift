// Sends back what it receives, over TCP and Unix sockets, until SIGTERM or SIGINT; then it drains
// and exits 0.
import ArgumentParser
import Glibc
import NetAPI

struct Echo: EventHandler {
    func onBoot(_ loop: Loop) -> Action {
        let server = loop.server
        for address in server.boundAddresses {
            say(
                "listening on \(address) "
                    + "(backend: \(server.backend.chosen), loops: \(server.loopCount))")
        }
        return .none
    }

    func onTraffic(_ connection: Connection) -> Action {
        connection.write(connection.next())
        return .none
    }
}

/// One unbuffered line, so that whoever waits for it on a pipe gets it now.
func say(_ text: String, to descriptor: CInt = STDOUT_FILENO) {
    let line = text + "\n"
    _ = line.withCString { write(descriptor, $0, strlen($0)) }
}

@main
struct EchoServer: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "echo-server", abstract: "Sends back what it receives.")

    @Option(
        help: "Where to listen, as tcp://127.0.0.1:9000 or unix:///run/echo.sock; may be repeated.")
    var listen: [String] = ["tcp://127.0.0.1:9000"]

    @Option(help: "auto, epoll or io_uring.")
    var backend = "auto"

    @Option(parsing: .unconditional, help: "How many event loops; 0: one per core.")
    var loops = 1

    @Flag(help: "Each loop listens for itself (SO_REUSEPORT).")
    var reusePort = false

    /// As ArgumentParser's own, but an error is one line, whatever it is about.
    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch  where exitCode(for: error) == .success {
            // Help, or a completion script.
            exit(withError: error)
        } catch {
            say("error: \(message(for: error))", to: STDERR_FILENO)
            Glibc.exit(1)
        }
    }

    func run() throws {
        let addresses = try listen.map { try Address(parsing: $0) }
        let options = Options(
            backend: try Backend(parsing: backend), loops: loops == 0 ? .perCore : .count(loops),
            reusePort: reusePort)
        let server = try Server(Echo(), listen: addresses, options: options)
        let reason = try server.run(stoppingOn: .interrupt, .terminate)
        if case .failed(let error) = reason { throw error }
    }
}
