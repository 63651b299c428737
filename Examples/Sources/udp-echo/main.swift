// An echo server for datagrams. Usage: `udp-echo [ADDRESS]`, then `nc -u 127.0.0.1 9000`.
import NetAPI

struct DatagramEcho: DatagramHandler {
    func onDatagram(_ datagram: Datagram) -> Action {
        datagram.reply(datagram.bytes)
        return .none
    }
}

let address = Address(
    stringLiteral: CommandLine.arguments.dropFirst().first ?? "udp://127.0.0.1:9000")
Server.main(DatagramEcho(), listen: address)
