// A client of `rpc-server` that makes many calls at once, and connects again when its connection
// ends. Kill the server and start it again while the client runs.
import ArgumentParser
import NetAPI
import RPCCodec
import ServerCommand

@main
struct RPCClient: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rpc-client",
        abstract: "Makes calls of rpc-server and counts their results.")

    @Option(help: "The address of the server.")
    var connect = "tcp://127.0.0.1:9000"

    @Option(help: "The backend: auto, epoll or io_uring.")
    var backend = "auto"

    @Option(help: "The number of callers. Each makes its next call after the last one's answer.")
    var callers = 10

    @Option(help: "The number of calls of each caller.")
    var calls = 100

    @Option(help: "The milliseconds that the server waits before each answer.")
    var wait: UInt32 = 20

    @Flag(help: "Send a call again if its connection ends.")
    var repeats = false

    func run() async throws {
        let calls = Calls(to: try Address(parsing: connect))
        let client = try Client(calls, options: Options(backend: try Backend(parsing: backend)))
        try client.start()
        let results = await results(of: calls)
        calls.close()
        await client.stop()
        say(
            results.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }.joined(
                separator: ", "))
    }

    /// Returns the numbers of right answers, and of each error.
    private func results(of calls: Calls) async -> [String: Int] {
        await withTaskGroup { group in
            for caller in 0..<callers {
                group.addTask {
                    var results: [String: Int] = [:]
                    for number in 0..<self.calls {
                        let result = await result(of: calls, text: "\(caller) \(number)")
                        results[result, default: 0] += 1
                    }
                    return results
                }
            }
            return await group.reduce(into: [:]) { $0.merge($1, uniquingKeysWith: +) }
        }
    }

    private func result(of calls: Calls, text: String) async -> String {
        let body = withUnsafeBytes(of: wait.bigEndian) { Array($0) } + text.utf8
        do {
            let answer = try await calls.call(Method.wait, body, repeats: repeats)
            return answer.elementsEqual(text.utf8) ? "right" : "wrong"
        } catch {
            return "\(error)"
        }
    }
}
