// Each line takes a second of blocking work; others do not notice: `blocking-echo [ADDRESS]`.
import Glibc
import NetAPI

struct BlockingEcho: EventHandler {
    func onTraffic(_ connection: Connection) throws -> Action {
        while let line = try connection.nextLine() {
            let request = String(decoding: line)
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
