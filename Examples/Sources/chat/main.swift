// A chat server that sends each line to all clients, on all loops. Usage: `chat [ADDRESS]`, then
// `nc 127.0.0.1 9000`.
import NetAPI

struct Chat: EventHandler {
    /// The name of each client; empty until its first line.
    let name = PerConnection("")

    func onOpen(_ connection: Connection) -> Action {
        connection.write("your name?\r\n")
        return .none
    }

    func onTraffic(_ connection: Connection) throws -> Action {
        while let line = try connection.nextLine(limit: 1024) {
            let text = String(decoding: line)
            if connection[name].isEmpty {
                connection[name] = text
                say("* \(text) joined", on: connection.server)
            } else {
                say("\(connection[name]): \(text)", on: connection.server)
            }
        }
        return .none
    }

    func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
        if !connection[name].isEmpty { say("* \(connection[name]) left", on: connection.server) }
        return .none
    }

    func say(_ text: String, on server: Server) {
        // The closure runs on the loop of each member.
        server.forEachConnection { [name] member in
            guard !member[name].isEmpty else { return }
            // A member that reads too slowly is reset, so that the others do not wait for it.
            guard member.isWritable else { return member.abort() }
            member.write(text + "\r\n")
        }
    }
}

let address = Address(
    stringLiteral: CommandLine.arguments.dropFirst().first ?? "tcp://127.0.0.1:9000")
Server.main(Chat(), listen: address, options: Options(loops: 2))
