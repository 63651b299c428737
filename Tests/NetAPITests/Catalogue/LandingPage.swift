/// The example of the catalogue's landing page, compiled.
// example: begin landing-echo
import NetAPI

struct EchoHandler: EventHandler {
    func onTraffic(_ connection: Connection) -> Action {
        connection.write(connection.next())
        return .none
    }
}
// example: end

func landingPage() -> Never {
    // example: begin landing-echo
    Server.main(EchoHandler(), listen: "tcp://127.0.0.1:9000", options: Options(loops: .perCore))
    // example: end
}
