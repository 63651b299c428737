// Keeps keys in memory and speaks the Redis protocol until SIGTERM or SIGINT; then it drains and
// exits 0.
import ArgumentParser
import Glibc
import KVStore
import NetAPI

/// One unbuffered line, so that whoever waits for it on a pipe gets it now.
func say(_ text: String, to descriptor: CInt = STDOUT_FILENO) {
    let line = text + "\n"
    _ = line.withCString { write(descriptor, $0, strlen($0)) }
}

@main
struct KVServer: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kv-server", abstract: "Keeps keys in memory; speaks the Redis protocol.")

    @Option(
        help: "Where to listen, as tcp://127.0.0.1:6379 or unix:///run/kv.sock; may be repeated.")
    var listen: [String] = ["tcp://127.0.0.1:6379"]

    @Option(help: "auto, epoll or io_uring.")
    var backend = "auto"

    @Option(parsing: .unconditional, help: "How many event loops; 0: one per core.")
    var loops = 1

    /// As ArgumentParser's own, but an error is one line, whatever it is about.
    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch  where exitCode(for: error) == .success {
            exit(withError: error)
        } catch {
            say("error: \(message(for: error))", to: STDERR_FILENO)
            Glibc.exit(1)
        }
    }

    func run() throws {
        let addresses = try listen.map { try Address(parsing: $0) }
        let options = Options(
            backend: try Backend(parsing: backend), loops: loops == 0 ? .perCore : .count(loops)
        ).with {
            // A request is read whole: this is Redis's client-query-buffer-limit.
            $0.limits.inboundBytes = 1 << 30
        }
        let server = try Server(KVHandler(Database()), listen: addresses, options: options)
        let reason = try server.run(stoppingOn: .interrupt, .terminate)
        if case .failed(let error) = reason { throw error }
    }
}
