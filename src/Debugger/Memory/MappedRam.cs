// The RAM of a QEMU on this machine, mapped into this process: a memory file that QEMU was told to share (-object memory-backend-memfd,share=on). It is memory
// of the running guest: what is read while the guest runs may be half written. TCG keeps nothing back (no write cache), so at a stop it is what the stub would
// send.
//
// A mapped file that is cut short kills whoever touches the missing pages (SIGBUS), and QEMU's fate must not be ours. So only a memory file is taken whose seals
// forbid shrinking (F_SEAL_SHRINK, fcntl(2); QEMU's memfd backends have it unless told otherwise). Its pages live as long as somebody has them mapped, whether
// or not QEMU does.
using System.Collections.Immutable;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using KTrace.Rsp;
using Microsoft.Win32.SafeHandles;

namespace KTrace.Debugger.Memory;

/// <summary>Guest-physical RAM, read and (where it was asked for) written at once, without the stub.</summary>
public sealed class MappedRam : IPhysicalMemory, IDisposable
{
    /// <summary>The backend's name on QEMU's command line: the one that these machines give their RAM by themselves.</summary>
    private const string Backend = "pc.ram";

    private const string MapCommand = "info mtree -f";

    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private readonly SafeBuffer _handle;
    private readonly ulong _size;
    private readonly bool _isWritable;
    private RamRange[] _ranges = [];

    private MappedRam(SafeFileHandle file, bool isWritable)
    {
        var access = isWritable ? MemoryMappedFileAccess.ReadWrite : MemoryMappedFileAccess.Read;
        _isWritable = isWritable;
        _size = (ulong)RandomAccess.GetLength(file);
        _file = MemoryMappedFile.CreateFromFile(file, null, 0, access, HandleInheritability.None, leaveOpen: true);
        _view = _file.CreateViewAccessor(0, 0, access);
        _handle = _view.SafeMemoryMappedViewHandle;
    }

    /// <summary>Which guest-physical addresses can be read, ascending.</summary>
    public ImmutableArray<RamRange> Ranges => [.. Volatile.Read(ref _ranges)];

    /// <summary>Maps the RAM and asks the machine where it lies.</summary>
    /// <param name="file">QEMU's memory file, such as /proc/PID/fd/N; null: there is none.</param>
    /// <param name="client">Connected to that very QEMU, which is stopped.</param>
    /// <param name="access">Read, or ReadWrite for <see cref="TryWrite"/>.</param>
    /// <returns>Null where it cannot be done, or not safely: the stub's way is always there.</returns>
    /// <exception cref="RspException">The connection broke.</exception>
    public static async ValueTask<MappedRam?> TryOpenAsync(
        string? file, RspClient client, FileAccess access = FileAccess.Read, CancellationToken cancellationToken = default)
    {
        if (file is null || TryMap(file, access) is not { } ram)
        {
            return null;
        }

        try
        {
            if (await ram.LocateAsync(client, cancellationToken))
            {
                return ram;
            }
        }
        catch
        {
            ram.Dispose();
            throw;
        }

        ram.Dispose();
        return null;
    }

    /// <summary>Asks the machine again where its RAM lies: firmware may have given some of it away (TSEG). The guest is stopped.</summary>
    /// <returns>False when it does not tell; then nothing can be read until it does.</returns>
    /// <exception cref="RspException">The connection broke.</exception>
    public async ValueTask<bool> LocateAsync(RspClient client, CancellationToken cancellationToken = default)
    {
        try
        {
            var (text, truncated) = await client.MonitorAsync(MapCommand, cancellationToken);
            Locate(truncated ? [] : RamLayout.Parse(text, Backend, _size));
        }
        catch (RspException e) when (e.Kind is RspErrorKind.ErrorReply or RspErrorKind.Unsupported)
        {
            Locate([]);
        }

        return _ranges.Length > 0;
    }

    public bool TryRead(ulong address, Span<byte> destination)
    {
        // Ranges that follow each other need not be neighbours in the file.
        while (Read(address, destination) is > 0 and var count)
        {
            address += (ulong)count;
            destination = destination[count..];
        }

        return destination.IsEmpty;
    }

    /// <summary>Reads from the beginning as much as lies in one range of RAM.</summary>
    /// <returns>How many bytes; 0 when the first is not RAM.</returns>
    public unsafe int Read(ulong address, Span<byte> destination)
    {
        var count = Find(address, destination.Length, out var offset);
        if (count > 0)
        {
            var held = false;
            try
            {
                _handle.DangerousAddRef(ref held);
                new ReadOnlySpan<byte>(Start + offset, count).CopyTo(destination);
            }
            finally
            {
                Release(held);
            }
        }

        return count;
    }

    /// <summary>
    /// Writes all of it, or nothing. The guest must be stopped. TCG does not notice: code that it has translated already goes on as it was, until it
    /// translates it anew.
    /// </summary>
    /// <returns>False when part of the range is not RAM.</returns>
    /// <exception cref="InvalidOperationException">It was not opened for writing.</exception>
    public unsafe bool TryWrite(ulong address, ReadOnlySpan<byte> source)
    {
        if (!_isWritable)
        {
            throw new InvalidOperationException("this RAM was mapped for reading only");
        }

        if (Find(address, source.Length, out var offset) < source.Length)
        {
            return false;
        }

        var held = false;
        try
        {
            _handle.DangerousAddRef(ref held);
            source.CopyTo(new Span<byte>(Start + offset, source.Length));
        }
        finally
        {
            Release(held);
        }

        return true;
    }

    /// <summary>A piece of RAM to be read and written while the guest runs; null when it is not all RAM in one piece, or not opened for writing.</summary>
    /// <param name="length">Bytes.</param>
    public unsafe SharedPiece? TryShare(ulong address, int length) =>
        _isWritable && Find(address, length, out var offset) == length ? new SharedPiece(_handle, Start + offset, length) : null;

    /// <summary>Whether the byte at the address is RAM.</summary>
    public bool Contains(ulong address) => Find(address, 1, out _) > 0;

    /// <summary>Unmaps it. A read under way in another thread ends first; a later one throws ObjectDisposedException.</summary>
    public void Dispose()
    {
        _view.Dispose();
        _file.Dispose();
    }

    /// <summary>The file as it is, nothing of it located yet; null when it cannot be mapped safely.</summary>
    internal static MappedRam? TryMap(string path, FileAccess access = FileAccess.Read)
    {
        try
        {
            // No lock is taken on it: FileShare.ReadWrite keeps .NET from flock().
            using var file = File.OpenHandle(path, FileMode.Open, access, FileShare.ReadWrite | FileShare.Delete);
            return IsSealed(file) && RandomAccess.GetLength(file) > 0 ? new MappedRam(file, access != FileAccess.Read) : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            return null;
        }
    }

    internal void Locate(ImmutableArray<RamRange> ranges) => Volatile.Write(ref _ranges, [.. ranges]);

    private unsafe byte* Start => (byte*)_handle.DangerousGetHandle() + _view.PointerOffset;

    /// <returns>How many bytes from the address on, up to the length, lie in one range; their place in the file.</returns>
    private int Find(ulong address, int length, out ulong offset)
    {
        foreach (ref readonly var range in Volatile.Read(ref _ranges).AsSpan())
        {
            if (address - range.Start < range.End - range.Start)
            {
                offset = range.FileOffset + (address - range.Start);
                return (int)Math.Min((ulong)length, range.End - address);
            }
        }

        offset = 0;
        return 0;
    }

    private void Release(bool held)
    {
        if (held)
        {
            _handle.DangerousRelease();
        }
    }

    private static bool IsSealed(SafeFileHandle file)
    {
        const int getSeals = 1034, sealShrink = 2; // F_GET_SEALS, F_SEAL_SHRINK: linux/fcntl.h
        return OperatingSystem.IsLinux() && FileControl(file, getSeals) is >= 0 and var seals && (seals & sealShrink) != 0;
    }

    [DllImport("libc", EntryPoint = "fcntl", SetLastError = true)]
    private static extern int FileControl(SafeFileHandle file, int command);
}
