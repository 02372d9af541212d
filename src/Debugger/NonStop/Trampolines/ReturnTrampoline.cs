// A function whose return is recorded returns to a stub of 16 bytes: a call of the code that all stubs share, so that an address in the stub tells which it was, and tells so whoever unwinds through it. That writes
// the record, puts the function's own return address where the call's lies, and goes there with all registers and flags as they were. A function that was entered by a tail call finds a stub's address as its caller's: it is kept and
// gone to as any other.
//
// The entry is freed only after the return's record has its place in the ring: whoever takes the entry next comes later in the ring. For interrupts and waiting see EntryTrampoline.cs.
using System.Buffers.Binary;
using Iced.Intel;
using KTrace.Debugger.NonStop.Guest;
using KTrace.Debugger.NonStop.Ring;

namespace KTrace.Debugger.NonStop.Trampolines;

/// <summary>The stubs that functions return to, and the code behind them.</summary>
public sealed class ReturnTrampoline
{
    private const int StubSize = 16, StubShift = 4;

    /// <summary>Bytes of a stub's call: what it pushes is the stub's address and this.</summary>
    internal const int CallLength = 5;

    private const int StubsSize = ReturnEntry.Count * StubSize;

    // How many entries a call looks at before it goes without.
    private const int Attempts = 8;

    private readonly ulong _address;

    private ReturnTrampoline(CodeBlock code) => (Code, _address) = (code, code.Address);

    /// <summary>
    /// All its code: the stubs, then what they share. Its frame distances are those to the address behind the place of the return address; that place holds an address in the stub until
    /// the return address is put back there (and nothing of this call before the stub's call).
    /// </summary>
    public CodeBlock Code { get; }

    /// <summary>Makes the code for one kernel.</summary>
    /// <param name="lossy">As for <see cref="EntryTrampoline.Assemble"/>.</param>
    /// <param name="address">Where its first byte will be.</param>
    public static ReturnTrampoline Assemble(KernelOffsets offsets, NonStopLayout layout, bool lossy, ulong address)
    {
        var shared = AssembleShared(offsets, layout, lossy, address + StubsSize);
        var bytes = new byte[StubsSize + shared.Bytes.Length];
        shared.Bytes.CopyTo(bytes, StubsSize);
        var frames = new List<(int Offset, int FrameDistance)>();
        for (var index = 0; index < ReturnEntry.Count; index++)
        {
            var start = index * StubSize;
            var stub = bytes.AsSpan(start, StubSize);
            stub.Fill(0xcc);
            stub[0] = 0xe8;
            BinaryPrimitives.WriteInt32LittleEndian(stub[1..], StubsSize - (start + CallLength));
        }

        frames.Add((0, 0));
        frames.AddRange(shared.Frames.Select(frame => (StubsSize + frame.Offset, frame.FrameDistance)));
        return new ReturnTrampoline(new CodeBlock(address, [.. bytes]) { Frames = [.. frames], Done = StubsSize + shared.Done });
    }

    /// <summary>Where a function returns to whose return address is kept in an entry.</summary>
    public ulong StubAddress(int index) => _address + (ulong)(index * StubSize);

    /// <summary>The entry that a return address means; null: it is none of these.</summary>
    public int? IndexOf(ulong address) =>
        address >= _address && address - _address < StubsSize && (address - _address) % StubSize == 0 ? (int)((address - _address) / StubSize) : null;

    /// <summary>
    /// At a function's entry: takes an entry, tells the record (bx) which, and has the function return to its stub; or counts that none was free. Uses all but bx and bp. The record must
    /// have its place in the ring, and its copy of the stack.
    /// </summary>
    internal void WriteTaking(TrampolineFrame frame, int program)
    {
        var code = frame.Code;
        var again = code.NewLabel();
        var taken = code.NewLabel();
        var done = code.NewLabel();
        code.Constant(Reg.Dx, 1);
        code.LockedExchangeAdd(frame.Control(ControlBlock.NextReturn), Reg.Dx);
        code.Constant(Reg.Di, Attempts);
        code.Place(again);
        code.Do32(Mnemonic.And, Reg.Dx, ReturnEntry.Count - 1);
        WriteEntryAddress(frame, Reg.Si, Reg.Dx);
        code.Do32(Mnemonic.Xor, Reg.Ax, Reg.Ax);
        code.Constant(Reg.Cx, 1);
        code.LockedCompareExchange32(Mem.At(Reg.Si, ReturnEntry.State), Reg.Cx);
        code.Jump(ConditionCode.e, taken);
        code.Do32(Mnemonic.Add, Reg.Dx, 1);
        code.Do32(Mnemonic.Sub, Reg.Di, 1);
        code.Jump(ConditionCode.ne, again);
        code.LockedIncrement(frame.Control(ControlBlock.ReturnsMissed));
        code.Jump(done);
        code.Place(taken);
        code.Load(Reg.Ax, frame.Top);
        code.Store(Mem.At(Reg.Si, ReturnEntry.ReturnAddress), Reg.Ax);
        code.Put32(Mem.At(Reg.Si, ReturnEntry.Program), (uint)program);
        code.Address(Reg.Ax, Mem.At(Reg.Dx, 1));
        code.Store32(Mem.At(Reg.Bx, RecordFormat.ReturnIndex), Reg.Ax);
        code.Shift32(Mnemonic.Shl, Reg.Dx, StubShift);
        code.Address(Reg.Dx, Mem.At(Reg.Dx, (long)_address));
        code.Store(frame.Top, Reg.Dx);
        code.Place(done);
    }

    private static CodeBlock AssembleShared(KernelOffsets offsets, NonStopLayout layout, bool lossy, ulong address)
    {
        var code = new CodeEmitter(offsets);
        var frame = new TrampolineFrame(code, offsets, layout);
        var home = code.NewLabel();
        var leave = code.NewLabel();
        code.Begin(offsets.WordSize);
        frame.Enter(closed: null);

        // bp is the stub's index until it is the record's size.
        code.Load32(Reg.Bp, frame.Pushed);
        code.Do32(Mnemonic.Sub, Reg.Bp, unchecked((int)(address - StubsSize + CallLength)));
        code.Shift32(Mnemonic.Shr, Reg.Bp, StubShift);
        code.Do32(Mnemonic.Cmp, frame.Control(ControlBlock.Closed), 0);
        code.Jump(ConditionCode.ne, home);
        code.Constant(Reg.Di, RecordFormat.ReturnSize);
        var reservation = new Reservation(frame, lossy);
        reservation.Write();
        RecordWriter.WriteHeader(frame, RingRecordKind.Return);
        code.Store32(Mem.At(Reg.Bx, RecordFormat.Site), Reg.Bp);
        code.Address(Reg.Ax, frame.Top);
        RecordWriter.WriteStackPointer(code);
        WriteHome(frame);
        code.Move32(Reg.Bp, Reg.Di);
        RecordWriter.WriteCommit(code, RingRecordKind.Return);
        code.Place(leave);
        frame.Leave();

        code.Place(home, frame.FullDistance);
        WriteHome(frame);
        code.Jump(leave);
        reservation.WriteRare(home);
        return code.Assemble(address);
    }

    /// <summary>Puts the function's return address back, and frees the entry.</summary>
    private static void WriteHome(TrampolineFrame frame)
    {
        var code = frame.Code;
        WriteEntryAddress(frame, Reg.Dx, Reg.Bp);
        code.Load(Reg.Ax, Mem.At(Reg.Dx, ReturnEntry.ReturnAddress));
        code.Store(frame.Pushed, Reg.Ax);
        code.Put32(Mem.At(Reg.Dx, ReturnEntry.State), 0);
    }

    private static void WriteEntryAddress(TrampolineFrame frame, Reg to, Reg index)
    {
        var code = frame.Code;
        code.Move32(to, index);
        code.Shift32(Mnemonic.Shl, to, 5);
        code.Address(to, Mem.At(to, (long)(frame.Layout.Control + ControlBlock.Returns)));
    }
}
