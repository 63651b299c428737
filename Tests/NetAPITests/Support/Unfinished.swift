/// The number of a handler's jobs without a result yet, and a handler that counts them.
import Glibc
import MillraceTestSupport
import NetAPI

final class Unfinished: Sendable {
    private let counts = Shared((now: 0, peak: 0))

    var now: Int { counts.update { $0.now } }
    var peak: Int { counts.update { $0.peak } }

    func begin() {
        counts.update { counts in
            counts.now += 1
            counts.peak = max(counts.peak, counts.now)
        }
    }

    func end() { counts.update { $0.now -= 1 } }

    /// Offloads each line and answers with it. A client's end is answered by another job, in order
    /// after all its lines.
    func handler(
        _ work: @escaping @Sendable () -> Void = {},
        answer: @escaping @Sendable ([UInt8]) -> [UInt8] = { $0 + [0x0A] }
    ) -> TestHandler {
        TestHandler(
            traffic: { [self] connection in
                while let line = try connection.nextLine() {
                    let request = Array(copying: line)
                    begin()
                    connection.offload {
                        work()
                        return answer(request)
                    } then: { [self] connection, reply in
                        end()
                        connection.write(reply)
                    }
                }
                return .none
            },
            halfClose: { connection in
                connection.offload {
                } then: { connection, _ in
                    connection.close()
                }
                return .none
            })
    }
}
