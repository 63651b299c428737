/// The cold side of a backend: what happens once per socket. The kernel's, or scripted.
///
/// Called from the thread that starts a server and from its loops, hence Sendable.
package protocol Sockets: AnyObject, Sendable {
    /// Binds and listens. The descriptor is non-blocking; the caller owns it.
    func listen(
        on address: SocketAddress, _ options: ListenOptions
    ) throws(SystemError) -> BoundListener

    /// Takes over a socket that somebody else has bound and, unless it is for datagrams, listens
    /// on. From now on it is non-blocking and closed on exec.
    func adopt(_ descriptor: Descriptor) throws(SystemError) -> BoundListener

    /// Takes over a connected stream in the same way.
    func adoptStream(_ descriptor: Descriptor) throws(SystemError)

    /// Binds a socket for datagrams. The descriptor is non-blocking; the caller owns it.
    func bindDatagrams(
        on address: SocketAddress, _ options: ListenOptions
    ) throws(SystemError) -> BoundListener

    /// A socket that is to be connected to `address`. Non-blocking; the caller owns it.
    /// `receiveOffload` is for datagrams only, as in `ListenOptions`.
    func makeSocket(
        for address: SocketAddress, isDatagram: Bool, receiveOffload: Bool
    ) throws(SystemError) -> Descriptor

    /// Sends without waiting.
    func send(
        _ datagrams: UnsafeBufferPointer<OutgoingDatagram>, on descriptor: Descriptor,
        _ form: DatagramForm
    ) -> DatagramsSent

    /// Receives what is sent to a multicast group, by a network interface or by the one that the
    /// kernel chooses. ENODEV where there is none.
    func join(
        _ group: SocketAddress, interface: String?, on descriptor: Descriptor
    ) throws(SystemError)

    /// The next waiting connection, or nil if there is none: for the last look at a backlog.
    func acceptWaiting(on listener: Descriptor) throws(SystemError) -> AcceptedStream?

    /// Whether bytes have come that no driver has received yet. Takes none.
    func hasUnread(_ descriptor: Descriptor) -> Bool

    /// Bytes of a TCP stream that the kernel has taken and the peer's host has not acknowledged: a
    /// reset would destroy them.
    func unacknowledged(_ descriptor: Descriptor) -> Int

    /// Sets up an accepted connection.
    func prepare(_ descriptor: Descriptor, _ options: StreamOptions)

    func localAddress(of descriptor: Descriptor) throws(SystemError) -> SocketAddress
    func remoteAddress(of descriptor: Descriptor) throws(SystemError) -> SocketAddress

    func set(_ option: StreamOption, on descriptor: Descriptor) throws(SystemError)

    /// Makes the coming close send a reset.
    func resetOnClose(_ descriptor: Descriptor)

    /// Another descriptor of the same socket, closed on exec; the caller owns it.
    func duplicate(_ descriptor: Descriptor) throws(SystemError) -> Descriptor

    /// Closes a descriptor that no driver has.
    func discard(_ descriptor: Descriptor)

    /// Removes the path of a Unix listener, if it is still the one that `listen` made.
    func removePath(of listener: BoundListener)
}

/// A listening descriptor and the address that it really has: port 0 is replaced by the kernel's
/// choice.
package struct BoundListener: Sendable {
    package let descriptor: Descriptor
    package let address: SocketAddress
    /// Device and inode of a Unix path, so that nobody else's is removed.
    package let path: PathIdentity?
    /// It receives datagrams and accepts nobody.
    package let isDatagram: Bool
    /// Somebody else has made it, and set what accepted sockets have from it.
    package let isInherited: Bool
    /// Where the path is, from whichever directory the process works in by the time it is removed;
    /// nil if that could not be learnt.
    package let absolutePath: String?

    package init(
        descriptor: Descriptor, address: SocketAddress, path: PathIdentity? = nil,
        absolutePath: String? = nil, isDatagram: Bool = false, isInherited: Bool = false
    ) {
        self.isDatagram = isDatagram
        self.isInherited = isInherited
        self.absolutePath = absolutePath
        self.descriptor = descriptor
        self.address = address
        self.path = path
    }
}

/// A connection out of a backlog, and whom it is with: told by accept(2), since getpeername(2) no
/// longer tells it of a connection that was reset meanwhile.
package struct AcceptedStream: Sendable {
    package let descriptor: Descriptor
    package let peer: SocketAddress?

    package init(descriptor: Descriptor, peer: SocketAddress?) {
        self.descriptor = descriptor
        self.peer = peer
    }
}

/// How datagrams are handed to the kernel.
package enum DatagramForm {
    /// As cheaply as can be, from the address that the socket is bound to. Not what has a source
    /// behind its receiver's name.
    case plain
    /// Each from the source that stands behind its receiver's name, if any does.
    case sourced
    /// The same, but neighbours of one size, receiver and source are one message.
    case bundled
}

/// A datagram to be sent: memory that stays put during the call, of less than 4 GiB. Lies in memory
/// as a `mr_outgoing`.
package struct OutgoingDatagram {
    private let start: UnsafeRawPointer?
    private let nameStart: UnsafeRawPointer?
    private let count: UInt32
    private let nameCount: UInt32

    package init(bytes: UnsafeRawBufferPointer, name: UnsafeRawBufferPointer) {
        start = bytes.baseAddress
        nameStart = name.baseAddress
        count = UInt32(truncatingIfNeeded: bytes.count)
        nameCount = UInt32(truncatingIfNeeded: name.count)
    }

    package var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: start, count: Int(count))
    }

    /// The receiver in the kernel's form, and behind it perhaps the source (`AskedAddress`).
    package var name: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: nameStart, count: Int(nameCount))
    }
}

/// What the kernel took of datagrams.
package struct DatagramsSent {
    /// How many, from the first on.
    package var count = 0
    /// Messages among them that held several.
    package var bundles = 0
    /// Only if none was taken: why, and of how many datagrams the refused message consists.
    package var error: Int32 = 0
    package var refused = 0

    package init() {}
}

package struct PathIdentity: Hashable, Sendable {
    package let device: UInt64
    package let inode: UInt64

    package init(device: UInt64, inode: UInt64) {
        self.device = device
        self.inode = inode
    }
}

package struct ListenOptions: Sendable {
    package var backlog: CInt
    package var reusePort: Bool
    /// An IPv6 listener serves IPv4 too unless this is set.
    package var onlyV6: Bool
    /// Accept only once bytes have come, or after so many seconds; nil: at once.
    package var deferAccept: CInt?
    /// For datagrams: the kernel may hand over several of one sender in one piece (UDP_GRO).
    package var receiveOffload = false
    /// For datagrams: refused where the kernel cannot cut a message into several (UDP_SEGMENT).
    package var segmentationOffload = false
    /// For datagrams: others that say the same may bind the port too (SO_REUSEADDR).
    package var reuseAddress = false
    /// The rights of a Unix path; nil leaves what the process's umask gives.
    package var mode: UInt16?
    /// Prefer connections that this processor handles.
    package var incomingCPU: CInt?

    package init(backlog: CInt = 4096, reusePort: Bool = false, onlyV6: Bool = false) {
        self.backlog = backlog
        self.reusePort = reusePort
        self.onlyV6 = onlyV6
    }
}

package struct StreamOptions: Sendable {
    package var noDelay = true
    /// Seconds of silence before the first probe; nil leaves keep-alive off.
    package var keepAlive: CInt?

    package init(noDelay: Bool = true, keepAlive: CInt? = nil) {
        self.noDelay = noDelay
        self.keepAlive = keepAlive
    }
}

/// An option of a live stream. Sizes in bytes, times in seconds unless named otherwise.
package enum StreamOption: Sendable {
    case noDelay(Bool)
    case keepAlive(idle: CInt, interval: CInt, count: CInt)
    case noKeepAlive
    /// SO_LINGER off, or a reset at close. A positive linger would block the loop in close(2).
    case linger(reset: Bool)
    case receiveBuffer(CInt)
    case sendBuffer(CInt)
    case quickAck(Bool)
    case userTimeout(milliseconds: CInt)
}
