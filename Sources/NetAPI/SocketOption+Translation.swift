internal import Glibc
internal import MillraceEventLoop

/// The translation of public options into the kernel's units. Values that do not fit are refused
/// here.
extension SocketOption {
    func translated() throws(SystemError) -> StreamOption {
        switch self {
        case .noDelay(let isOn): return .noDelay(isOn)
        case .noKeepAlive: return .noKeepAlive
        case .quickAck(let isOn): return .quickAck(isOn)
        case .keepAlive(let idle, let interval, let count):
            return .keepAlive(
                idle: try seconds(idle), interval: try seconds(interval), count: try fit(count))
        case .linger(nil): return .linger(reset: false)
        case .linger(.some(let time)):
            guard time == .zero else { throw SystemError(EINVAL, "setsockopt") }
            return .linger(reset: true)
        case .receiveBuffer(let size): return .receiveBuffer(try fit(size))
        case .sendBuffer(let size): return .sendBuffer(try fit(size))
        case .userTimeout(let time):
            return .userTimeout(milliseconds: try fit(Int(Nanoseconds(time) / 1_000_000)))
        case .other(let level, let name, let value):
            return .other(level: level, name: name, value: value)
        }
    }

    private func seconds(_ time: Duration) throws(SystemError) -> CInt {
        // Compared first: above Int64.max seconds, `components` traps.
        guard time >= .seconds(1), time <= .seconds(CInt.max) else {
            throw SystemError(EINVAL, "setsockopt")
        }
        return CInt(time.components.seconds)
    }

    private func fit(_ value: Int) throws(SystemError) -> CInt {
        guard value >= 0, let number = CInt(exactly: value) else {
            throw SystemError(EINVAL, "setsockopt")
        }
        return number
    }
}
