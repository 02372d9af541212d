using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using KTrace.Debugger.Memory;
using KTrace.Debugger.NonStop.Ring;

namespace KTrace.Tests.Debugger.NonStop.Ring;

/// <summary>A ring whose guest is the test: it reserves, writes and commits as trampolines do.</summary>
internal sealed unsafe class PlayedRing : IDisposable
{
    private const int ControlSize = 4096;
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;

    public PlayedRing(int size)
    {
        _file = MemoryMappedFile.CreateNew(null, ControlSize + size);
        _view = _file.CreateViewAccessor();
        var start = (byte*)_view.SafeMemoryMappedViewHandle.DangerousGetHandle();
        Control = new SharedPiece(_view.SafeMemoryMappedViewHandle, start, ControlSize);
        Ring = new SharedPiece(_view.SafeMemoryMappedViewHandle, start + ControlSize, size);
    }

    public SharedPiece Control { get; }

    public SharedPiece Ring { get; }

    public ulong Head => Control.LoadUInt64(ControlBlock.Head);

    public static ulong Commit(int size, RingRecordKind kind) => (uint)size | ((ulong)kind << 32) | (RecordFormat.Magic << 48);

    /// <returns>Where in the ring.</returns>
    public int Reserve(int size)
    {
        var head = Head;
        Control.StoreUInt64(ControlBlock.Head, head + (ulong)size);
        return (int)(head % (ulong)Ring.Length);
    }

    /// <summary>Writes a call with one window of so many bytes of stack.</summary>
    public void Write(ulong site, int stack = 0)
    {
        var size = (RecordFormat.CallHeader + stack + RecordFormat.Alignment - 1) & -RecordFormat.Alignment;
        Fill(Reserve(size), site, size, stack);
    }

    public void Fill(int place, ulong site, int size, int stack = 0)
    {
        var record = new byte[size];
        BinaryPrimitives.WriteUInt64LittleEndian(record.AsSpan(RecordFormat.Site), site);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(RecordFormat.WindowCount), 1);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(RecordFormat.WindowLengths), (uint)stack);
        for (var i = 8; i < size; i++)
        {
            Ring.Bytes[(place + i) % Ring.Length] = record[i];
        }

        Ring.StoreUInt64(place, Commit(size, RingRecordKind.Call));
    }

    public void Dispose()
    {
        Control.Dispose();
        Ring.Dispose();
        _view.Dispose();
        _file.Dispose();
    }
}
