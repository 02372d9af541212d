using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace KTrace.Symbols.Elf;

/// <summary>A whole file mapped read-only. The mapping lives as long as anything that refers to it.</summary>
internal sealed unsafe class MappedFile
{
    private readonly MemoryMappedFile? _file;
    private readonly MemoryMappedViewAccessor? _view;

    public MappedFile(string path)
        : this(path, path)
    {
    }

    /// <param name="path">How it is called in messages.</param>
    /// <param name="contents">The file that has its bytes.</param>
    public MappedFile(string path, string contents)
    {
        Path = path;
        using SafeFileHandle handle = File.OpenHandle(contents, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        Length = RandomAccess.GetLength(handle);
        if (Length == 0)
        {
            return;
        }

        // The mapping keeps its own reference to the file, so the handle may go.
        _file = MemoryMappedFile.CreateFromFile(handle, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        _view = _file.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
        byte* start = null;
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        Start = start + _view.PointerOffset;
    }

    public string Path { get; }

    /// <summary>File size in bytes.</summary>
    public long Length { get; }

    public byte* Start { get; }

    /// <summary>Takes whole pages of a read-only file mapping out of our memory; their contents stay what they are.</summary>
    internal static void Release(byte* start, int length)
    {
        var page = (nuint)Environment.SystemPageSize;
        var first = ((nuint)start + page - 1) & ~(page - 1);
        var end = ((nuint)start + (nuint)length) & ~(page - 1);
        if (end > first && OperatingSystem.IsLinux())
        {
            // Advice: if the system does not take it, nothing but memory is lost.
            _ = AdviseMemory((void*)first, end - first, DontNeed);
        }
    }

    private const int DontNeed = 4; // MADV_DONTNEED, asm-generic/mman-common.h

    [DllImport("libc", EntryPoint = "madvise")]
    private static extern int AdviseMemory(void* start, nuint length, int advice);

    /// <summary>Bytes [offset, offset+length) of the file; both were checked against <see cref="Length"/> by the caller.</summary>
    public SectionData Slice(string name, long offset, long length)
    {
        if (offset < 0 || length < 0 || offset > Length || length > Length - offset)
        {
            throw new MalformedFileException(Path, name, offset, $"0x{length:x} bytes that lie outside the file (size 0x{Length:x}); is it truncated?");
        }

        if (length > int.MaxValue)
        {
            throw new MalformedFileException(Path, name, offset, $"a section of 0x{length:x} bytes; at most 0x{int.MaxValue:x} are supported");
        }

        return length == 0 ? SectionData.Empty(Path, name) : new SectionData(Path, name, Start + offset, (int)length, this);
    }
}
