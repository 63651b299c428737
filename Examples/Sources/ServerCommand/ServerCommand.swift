// The part of the command line that all example servers share: where to listen, on what, and one
// line for whatever is wrong.
public import ArgumentParser
import Glibc
public import NetAPI

/// Where to listen and how to run; a group of options for a server's command.
public struct ServerOptions: ParsableArguments {
    @Option(
        help: "Where to listen, as tcp://127.0.0.1:9000 or unix:///run/app.sock; may be repeated.")
    public var listen: [String] = []

    @Option(help: "auto, epoll or io_uring.")
    public var backend = "auto"

    @Option(parsing: .unconditional, help: "How many event loops; 0: one per core.")
    public var loops = 1

    @Flag(help: "Each loop listens for itself (SO_REUSEPORT).")
    public var reusePort = false

    @Option(help: "Microseconds to look for events without sleeping, after the last one.")
    public var busyPoll = 0

    @Option(help: "Microseconds to collect further completions after a busy turn (io_uring).")
    public var minimumWait = 0

    public init() {}

    /// The addresses, or this port of the local host; throws `NetError.invalidAddress`.
    public func addresses(defaultPort: UInt16 = 9000) throws -> [Address] {
        if listen.isEmpty { return [.tcp("127.0.0.1", port: defaultPort)] }
        return try listen.map { try Address(parsing: $0) }
    }

    /// The library's options for these; throws `NetError.invalidOption`.
    public func options() throws -> Options {
        Options(
            backend: try Backend(parsing: backend), loops: loops == 0 ? .perCore : .count(loops),
            reusePort: reusePort
        ).with {
            $0.busyPoll = .microseconds(busyPoll)
            $0.minimumWait = .microseconds(minimumWait)
        }
    }
}

/// A command whose errors are one line each, whatever they are about.
public protocol ServerCommand: ParsableCommand {}

extension ServerCommand {
    /// As ArgumentParser's own, but for the errors.
    public static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let error where exitCode(for: error) == .success {
            // Help, or a completion script.
            exit(withError: error)
        } catch {
            say("error: \(message(for: error))", to: STDERR_FILENO)
            Glibc.exit(1)
        }
    }
}

/// Tells each address on a line, for people and for scripts that wait for it.
public func announce(_ server: Server) {
    for address in server.boundAddresses {
        say(
            "listening on \(address) "
                + "(backend: \(server.backend.chosen), loops: \(server.loopCount))")
    }
}

/// One unbuffered line, so that whoever waits for it on a pipe gets it now.
public func say(_ text: String, to descriptor: CInt = STDOUT_FILENO) {
    let line = text + "\n"
    _ = line.withCString { write(descriptor, $0, strlen($0)) }
}
