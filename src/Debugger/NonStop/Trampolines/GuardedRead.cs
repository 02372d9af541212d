// Reading memory that may not be there, in any context. What the processor would do is done by code: CR3, the page tables, a physical address, and a look at that where all RAM is mapped for such looks
// (GuestView). So nothing faults and no device is touched, whatever address a condition comes upon and whatever other CPUs do to the page tables meanwhile: the worst that a race gives is an old value, as
// with any load. Rules are those of Memory/PageTables.cs (Intel SDM volume 3A, sections 4.3 to 4.5), so that what stops can read, conditions can: present bits count, permissions do not.
//
// Tables are looked at only below the map's end (GuestView.SizeBits); where the map has no RAM, it has a page of zeros, and an entry of 0 is not present. The last physical address must be RAM.
// i386 has no room for a map of its own. The kernel's direct map of low memory takes its place: page tables lie there (but for CONFIG_HIGHPTE), and high memory cannot be read.
using Iced.Intel;
using KTrace.Debugger.Memory;

namespace KTrace.Debugger.NonStop.Trampolines;

/// <summary>Writes reads for one condition. They use ax (the address, which stays), cx, dx, bx (where the bytes are, afterwards), di, bp.</summary>
/// <param name="scratch">Of <see cref="ScratchSize"/> bytes, relative to the stack pointer.</param>
/// <param name="unreadable">Where to go when it cannot be read.</param>
internal sealed class GuardedRead(CodeEmitter code, GuestView view, int scratch, CodeLabel unreadable)
{
    private const uint Present = 1, Large = 0x80;
    private const int PageSize = 4096;

    private readonly List<Action> _rare = [];

    /// <summary>The address, si, how many bytes the first page has, and room for the bytes of both pages.</summary>
    public static int ScratchSize(int bytes, int word) => (3 * word) + ((bytes + 7) & -8);

    private Mem Address => Mem.At(Reg.Sp, scratch);

    private Mem Task => Mem.At(Reg.Sp, scratch + code.Word);

    private Mem FirstLength => Mem.At(Reg.Sp, scratch + (2 * code.Word));

    private Mem Bytes => Mem.At(Reg.Sp, scratch + (3 * code.Word));

    /// <summary>Afterwards bx points to the bytes.</summary>
    /// <param name="bytes">How many are read.</param>
    /// <param name="touched">As many or more: bytes behind them on the same page may be touched.</param>
    /// <param name="isShorter">They are text. Where to go when it ends on its first page, and the second would be needed; null: they are none.</param>
    public void Write(int bytes, int touched, CodeLabel? isShorter = null)
    {
        WriteWalk();
        if (touched > 1)
        {
            var (crossing, ready) = (code.NewLabel(), code.NewLabel());
            var distance = code.Distance;
            code.Move32(Reg.Dx, Reg.Ax);
            code.Do32(Mnemonic.And, Reg.Dx, PageSize - 1);
            code.Do32(Mnemonic.Cmp, Reg.Dx, PageSize - touched);
            code.Jump(ConditionCode.a, crossing);
            code.Place(ready);
            _rare.Add(() =>
            {
                code.Place(crossing, distance);
                WriteCrossing(bytes, touched, isShorter);
                code.Jump(ready);
            });
        }
    }

    /// <summary>What happens where bytes lie on two pages.</summary>
    public void WriteRare() => _rare.ForEach(write => write());

    /// <summary>Puts the bytes of both pages together. dx is the address within its page, bx where that is.</summary>
    private void WriteCrossing(int bytes, int touched, CodeLabel? isShorter)
    {
        var (all, isEnough, differs) = (code.NewLabel(), code.NewLabel(), code.NewLabel());
        code.Store(Address, Reg.Ax);
        code.Store(Task, Reg.Si);
        code.Constant(Reg.Cx, PageSize);
        code.Do32(Mnemonic.Sub, Reg.Cx, Reg.Dx);
        if (isShorter is not null)
        {
            code.Move32(Reg.Dx, Reg.Cx);
            code.Move(Reg.Di, Reg.Bx);
            code.Do32(Mnemonic.Xor, Reg.Ax, Reg.Ax);
            code.FindByte();
            code.Jump(ConditionCode.e, differs);
            code.Move32(Reg.Cx, Reg.Dx);
        }
        else if (touched > bytes)
        {
            code.Do32(Mnemonic.Cmp, Reg.Cx, bytes);
            code.Jump(ConditionCode.be, all);
            code.Constant(Reg.Cx, (ulong)bytes);
            code.Place(all);
        }

        code.Store(FirstLength, Reg.Cx);
        code.Move(Reg.Si, Reg.Bx);
        code.Address(Reg.Di, Bytes);
        code.CopyBytes();
        if (touched > bytes)
        {
            code.Load(Reg.Cx, FirstLength);
            code.Do32(Mnemonic.Cmp, Reg.Cx, bytes);
            code.Jump(ConditionCode.e, isEnough);
        }

        code.Load(Reg.Ax, Address);
        code.Do(Mnemonic.Add, Reg.Ax, FirstLength);
        WriteWalk();
        code.Constant(Reg.Cx, (ulong)bytes);
        code.Do(Mnemonic.Sub, Reg.Cx, FirstLength);
        code.Move(Reg.Si, Reg.Bx);
        code.Address(Reg.Di, Bytes);
        code.Do(Mnemonic.Add, Reg.Di, FirstLength);
        code.CopyBytes();
        code.Place(isEnough);
        code.Load(Reg.Si, Task);
        code.Address(Reg.Bx, Bytes);
        if (isShorter is not null)
        {
            var ready = code.NewLabel();
            code.Jump(ready);
            code.Place(differs);
            code.Load(Reg.Si, Task);
            code.Jump(isShorter);
            code.Place(ready);
        }
    }

    /// <summary>ax is an address; bx becomes where its byte can be read.</summary>
    private void WriteWalk()
    {
        var found = code.NewLabel();
        switch (view.Paging)
        {
            case PagingKind.FourLevels:
                WriteWalk64(found, 16, 39, 30, 21, 12);
                break;
            case PagingKind.FiveLevels:
                WriteWalk64(found, 7, 48, 39, 30, 21, 12);
                break;
            case PagingKind.Pae:
                WriteWalkPae(found);
                break;
            default:
                WriteWalk32(found);
                break;
        }

        // cx is a physical address now.
        code.Place(found);
        CheckLow();
        var isRam = code.NewLabel();
        foreach (var range in view.Ram.OrderByDescending(r => r.End - r.Start))
        {
            code.Move(Reg.Dx, Reg.Cx);
            code.Constant(Reg.Di, range.Start);
            code.Do(Mnemonic.Sub, Reg.Dx, Reg.Di);
            code.Constant(Reg.Di, range.End - range.Start);
            code.Do(Mnemonic.Cmp, Reg.Dx, Reg.Di);
            code.Jump(ConditionCode.b, isRam);
        }

        code.Jump(unreadable);
        code.Place(isRam);
        if (code.Word == 8)
        {
            code.Address(Reg.Bx, new Mem(Reg.Bp, 0, Index: Reg.Cx));
        }
        else
        {
            code.Address(Reg.Bx, Mem.At(Reg.Cx, (long)view.Base));
        }
    }

    /// <param name="unused">Bits of an address above those that are translated.</param>
    /// <param name="shifts">Of the levels' indices.</param>
    private void WriteWalk64(CodeLabel found, int unused, params ReadOnlySpan<int> shifts)
    {
        const ulong frameBits = 0x000f_ffff_ffff_f000;
        var pages = new List<(CodeLabel Label, int Shift)>();
        code.Move(Reg.Dx, Reg.Ax);
        code.Shift(Mnemonic.Shl, Reg.Dx, unused);
        code.Shift(Mnemonic.Sar, Reg.Dx, unused);
        code.Do(Mnemonic.Cmp, Reg.Dx, Reg.Ax);
        code.Jump(ConditionCode.ne, unreadable);
        code.LoadTableRoot(Reg.Cx);
        code.Constant(Reg.Di, frameBits);
        code.Constant(Reg.Bp, view.Base);
        foreach (var shift in shifts)
        {
            code.Do(Mnemonic.And, Reg.Cx, Reg.Di);
            code.Move(Reg.Dx, Reg.Cx);
            code.Shift(Mnemonic.Shr, Reg.Dx, view.SizeBits);
            code.Jump(ConditionCode.ne, unreadable);
            code.Move(Reg.Dx, Reg.Ax);
            code.Shift(Mnemonic.Shr, Reg.Dx, shift);
            code.Do32(Mnemonic.And, Reg.Dx, 0x1ff);
            code.Do(Mnemonic.Add, Reg.Cx, Reg.Bp);
            code.Load(Reg.Cx, new Mem(Reg.Cx, 0, Index: Reg.Dx, Scale: 8));
            code.Test32(Reg.Cx, Present);
            code.Jump(ConditionCode.e, unreadable);
            if (shift is 21 or 30)
            {
                pages.Add((code.NewLabel(), shift));
                code.Test32(Reg.Cx, Large);
                code.Jump(ConditionCode.ne, pages[^1].Label);
            }
        }

        WritePage(found, 12);
        foreach (var (label, shift) in pages)
        {
            code.Place(label);
            WritePage(found, shift);
        }

        void WritePage(CodeLabel done, int bits)
        {
            code.Do(Mnemonic.And, Reg.Cx, Reg.Di);
            WriteFrame(done, bits);
        }
    }

    /// <summary>Three levels of 8-byte entries, of which the lower halves tell all as long as the upper ones hold nothing but flags.</summary>
    private void WriteWalkPae(CodeLabel found)
    {
        const int rootBits = unchecked((int)0xffff_ffe0), frameBits = unchecked((int)0xffff_f000);
        var large = code.NewLabel();
        code.LoadTableRoot(Reg.Cx);
        foreach (var (shift, mask, root) in new[] { (30, 3, rootBits), (21, 0x1ff, frameBits), (12, 0x1ff, frameBits) })
        {
            code.Do32(Mnemonic.And, Reg.Cx, root);
            CheckLow();
            code.Move32(Reg.Dx, Reg.Ax);
            code.Shift32(Mnemonic.Shr, Reg.Dx, shift);
            code.Do32(Mnemonic.And, Reg.Dx, mask);
            var entry = new Mem(Reg.Cx, (long)view.Base, Index: Reg.Dx, Scale: 8);
            code.Test32(entry.Plus(4), 0x7fff_ffff);
            code.Jump(ConditionCode.ne, unreadable);
            code.Load32(Reg.Cx, entry);
            code.Test32(Reg.Cx, Present);
            code.Jump(ConditionCode.e, unreadable);
            if (shift == 21)
            {
                code.Test32(Reg.Cx, Large);
                code.Jump(ConditionCode.ne, large);
            }
        }

        WriteFrame(found, 12);
        code.Place(large);
        WriteFrame(found, 21);
    }

    private void WriteWalk32(CodeLabel found)
    {
        // PSE-36 (SDM 3A, table 4-4) says where above 4 GiB a large page is: not in low memory.
        const uint high = 0x1f_e000;
        var large = code.NewLabel();
        code.LoadTableRoot(Reg.Cx);
        foreach (var shift in (ReadOnlySpan<int>)[22, 12])
        {
            code.Do32(Mnemonic.And, Reg.Cx, -PageSize);
            CheckLow();
            code.Move32(Reg.Dx, Reg.Ax);
            code.Shift32(Mnemonic.Shr, Reg.Dx, shift);
            code.Do32(Mnemonic.And, Reg.Dx, 0x3ff);
            code.Load32(Reg.Cx, new Mem(Reg.Cx, (long)view.Base, Index: Reg.Dx, Scale: 4));
            code.Test32(Reg.Cx, Present);
            code.Jump(ConditionCode.e, unreadable);
            if (shift == 22)
            {
                code.Test32(Reg.Cx, Large);
                code.Jump(ConditionCode.ne, large);
            }
        }

        WriteFrame(found, 12);
        code.Place(large);
        code.Test32(Reg.Cx, high);
        code.Jump(ConditionCode.ne, unreadable);
        WriteFrame(found, 22);
    }

    /// <summary>cx is an entry; it becomes the physical address.</summary>
    private void WriteFrame(CodeLabel found, int bits)
    {
        var offset = (1 << bits) - 1;
        code.Do(Mnemonic.And, Reg.Cx, ~offset);
        code.Move32(Reg.Dx, Reg.Ax);
        code.Do32(Mnemonic.And, Reg.Dx, offset);
        code.Do(Mnemonic.Or, Reg.Cx, Reg.Dx);
        code.Jump(found);
    }

    /// <summary>i386: whether a physical address (cx) is low memory.</summary>
    private void CheckLow()
    {
        if (view.LowPages is { } pages)
        {
            code.Move32(Reg.Dx, Reg.Cx);
            code.Shift32(Mnemonic.Shr, Reg.Dx, 12);
            code.Do32(Mnemonic.Cmp, Reg.Dx, Mem.Fixed(pages));
            code.Jump(ConditionCode.ae, unreadable);
        }
    }
}
