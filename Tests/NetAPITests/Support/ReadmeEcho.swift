/// The README's first example, compiled. The lines between the marks are those of the README.
// example: begin echo
import NetAPI

struct Echo: EventHandler {
    func onTraffic(_ connection: Connection) -> Action {
        connection.write(connection.next())
        return .none
    }
}

// example: end

/// A test target has no top-level code, so the last statement is in a function.
func runReadmeEcho() -> Never {
    // example: begin echo
    Server.main(
        Echo(), listen: "tcp://127.0.0.1:9000",
        options: Options(backend: .automatic, loops: .perCore))
    // example: end
}
