// The part of the command line that all example servers share: addresses, options of the event
// loops, and one line for each error.
public import ArgumentParser
import Glibc
public import NetAPI

/// The addresses to listen on and the options to run with; a group for a server's command.
public struct ServerOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The address to listen on: tcp://127.0.0.1:9000 or unix:///run/app.sock; repeatable.",
            discussion: "Without it, the sockets that a service manager has passed."))
    public var listen: [String] = []

    @Option(help: "The backend: auto, epoll or io_uring.")
    public var backend = "auto"

    @Option(parsing: .unconditional, help: "The number of event loops; 0 means one per core.")
    public var loops = 1

    @Flag(help: "Each loop has its own listening sockets (SO_REUSEPORT).")
    public var reusePort = false

    @Option(help: "Microseconds to poll for events without sleeping, after the last event.")
    public var busyPoll = 0

    @Option(help: "Microseconds to wait for more completions after a busy turn (io_uring).")
    public var minimumWait = 0

    public init() {}

    /// Returns the addresses to listen on. Without `--listen` they are the sockets that a service
    /// manager has passed, and without those `defaultPort` on 127.0.0.1. A passed socket has TLS if
    /// its name is `tls`. Throws `NetError`.
    public func addresses(defaultPort: UInt16 = 9000) throws -> [Address] {
        guard listen.isEmpty else { return try listen.map { try Address(parsing: $0) } }
        let passed = try serviceManager.get().descriptors
        guard passed.isEmpty else {
            return try passed.map { try $0.address(isSecured: $0.name == "tls") }
        }
        return [.tcp("127.0.0.1", port: defaultPort)]
    }

    /// Returns these options in the library's form. Throws `NetError.invalidOption` and
    /// `.invalidEnvironment`. Call it before the program has other threads.
    public func options() throws -> Options {
        let manager = try serviceManager.get()
        return Options(
            backend: try Backend(parsing: backend), loops: loops == 0 ? .perCore : .count(loops),
            reusePort: reusePort
        ).with {
            $0.serviceManager = manager
            $0.busyPoll = .microseconds(busyPoll)
            $0.minimumWait = .microseconds(minimumWait)
        }
    }
}

/// The service manager that has started the program, if one has. Its first use reads the
/// environment.
public let serviceManager = Result { () throws(NetError) in
    try ServiceManager.fromEnvironment()
}

/// A command that reports every error on one line.
public protocol ServerCommand: ParsableCommand {}

extension ServerCommand {
    /// Like ArgumentParser's own `main()`, but an error is one line and exits with 1.
    public static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let error where exitCode(for: error) == .success {
            // The result is a help text or a completion script, and no error.
            exit(withError: error)
        } catch {
            say("error: \(message(for: error))", to: STDERR_FILENO)
            Glibc.exit(1)
        }
    }
}

/// Prints each address on a line. Scripts wait for this line, so call it in `onBoot`, where the
/// signals that stop the program are handled already.
public func announce(_ server: Server) {
    for address in server.boundAddresses {
        say(
            "listening on \(address) "
                + "(backend: \(server.backend.chosen), loops: \(server.loopCount))")
    }
}

/// Writes one line without buffering, so that a reader of a pipe receives it at once.
public func say(_ text: String, to descriptor: CInt = STDOUT_FILENO) {
    let line = text + "\n"
    _ = line.withCString { write(descriptor, $0, strlen($0)) }
}
