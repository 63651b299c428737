// An echo server with a time-out armed on every connection, to measure the cost of timers.
import Glibc
import NetAPI

struct Echo: EventHandler {
    func onBoot(_ loop: Loop) -> Action {
        for address in loop.server.boundAddresses {
            let line = "listening on \(address)\n"
            _ = line.withCString { write(STDOUT_FILENO, $0, strlen($0)) }
        }
        return .none
    }

    func onTraffic(_ connection: Connection) -> Action {
        connection.write(connection.next())
        return .none
    }
}

guard CommandLine.arguments.count == 4, let idleSeconds = Int(CommandLine.arguments[3]) else {
    _ = "usage: timeout-echo ADDRESS BACKEND SECONDS\n".withCString {
        write(STDERR_FILENO, $0, strlen($0))
    }
    exit(2)
}
let options = Options(backend: try Backend(parsing: CommandLine.arguments[2])).with {
    $0.timeouts.idle = .seconds(idleSeconds)
}
let server = try Server(
    Echo(), listen: [try Address(parsing: CommandLine.arguments[1])], options: options)
let reason = try server.run(stoppingOn: .interrupt, .terminate)
if case .failed(let error) = reason { throw error }
