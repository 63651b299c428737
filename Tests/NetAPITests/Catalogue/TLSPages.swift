/// The examples of the catalogue's pages on TLS, compiled.
// example: begin landing-tls
import NetAPI
import NetTLS

// example: end

enum TLSPages {
    static func landing() throws -> Never {
        // example: begin landing-tls
        var options = Options(loops: .perCore)
        options.tls = try TLSServer(.files(chain: "fullchain.pem", key: "key.pem"))
        Server.main(EchoHandler(), listen: "tls://[::]:8443", options: options)
        // example: end
    }

    static func server() throws -> Never {
        // example: begin tls-server
        var options = Options(loops: .perCore)
        options.tls = try TLSServer(.files(chain: "fullchain.pem", key: "key.pem"))
        Server.main(Echo(), listen: "tls://[::]:8443", "tcp://127.0.0.1:8080", options: options)
        // example: end
    }

    static func client() async throws -> ConnectionHandle {
        // example: begin tls-client
        var options = Options()
        options.tlsClient = try TLSClient(trust: .system)
        let client = try Client(Printer(), options: options)
        try client.start()
        let handle = try await client.connect(to: "tls://example.org:443", timeout: .seconds(5))
        // example: end
        return handle
    }

    static func renewal(_ tls: TLSServer) {
        // example: begin tls-renewal
        do {
            try tls.replace([.files(chain: "fullchain.pem", key: "key.pem")])
        } catch {
            print("the certificate stays as it was: \(error)")
        }
        // example: end
    }

    struct Mail: EventHandler {
        let tls: TLSServer

        // example: begin tls-start
        func onTraffic(_ connection: Connection) throws -> Action {
            while let line = try connection.nextLine(limit: 512) {
                if line.equals("STARTTLS") && connection.tls == nil {
                    connection.write("220 go ahead\r\n")
                    try connection.startTLS(tls)
                    return .none
                }
                connection.write("250 ok\r\n")
            }
            return .none
        }
        // example: end
    }

    struct Printer: EventHandler {
        func onTraffic(_ connection: Connection) -> Action {
            print(String(decoding: connection.next()))
            return .none
        }
    }
}
