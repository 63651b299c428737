// An echo server with a second of blocking work for each line. The work runs on another thread, so
// other clients do not wait. Usage: `blocking-echo [ADDRESS]`.
import Glibc
import NetAPI

struct BlockingEcho: EventHandler {
    func onTraffic(_ connection: Connection) throws -> Action {
        while let line = try connection.nextLine() {
            let request = String(decoding: line)
            // The first closure runs on a worker thread, the second one on this loop.
            connection.offload {
                sleep(1)
                return request.uppercased()
            } then: { connection, reply in
                connection.write(reply + "\r\n")
            }
        }
        return .none
    }
}

let address = Address(
    stringLiteral: CommandLine.arguments.dropFirst().first ?? "tcp://127.0.0.1:9000")
Server.main(BlockingEcho(), listen: address)
