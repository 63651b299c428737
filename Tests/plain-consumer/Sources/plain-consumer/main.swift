// An echo server on a free port, which it prints. It ends with SIGTERM.
import Glibc
import NetAPI

struct Echo: EventHandler {
    func onBoot(_ loop: Loop) -> Action {
        print(loop.server.boundAddresses[0])
        // A pipe's reader waits for the line.
        fflush(nil)
        return .none
    }

    func onTraffic(_ connection: Connection) -> Action {
        connection.write(connection.next())
        return .none
    }
}

Server.main(Echo(), listen: "tcp://127.0.0.1:0")
