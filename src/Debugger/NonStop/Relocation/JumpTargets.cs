// Everything in an object that may lead to an address of its code: what decoding finds, and what any other reading of the bytes could mean. It finds more than there is, which only costs
// functions that could have been traced; what it does not find would crash the guest.
//   - direct jumps and calls: all code is decoded, beginning anew at each symbol; and, in case that decoding went out of step (data in code), whatever follows the opcode of a
//     near jump or call is taken for its displacement
//   - addresses in code: rip-relative operands and immediates (labels as values, addresses pushed by assembly)
//   - jump tables: every word in the data is taken for an address; of .rodata and .data also relative words, as the relocations tell (--emit-relocs, and ET_REL)
//   - symbols: assembly jumps to labels; fixups of faults; targets of static keys
using System.Buffers.Binary;
using System.Collections;
using System.Runtime.InteropServices;
using Iced.Intel;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Recovery;

namespace KTrace.Debugger.NonStop.Relocation;

/// <summary>Which bytes of an object's code something may jump to.</summary>
internal sealed class JumpTargets
{
    private readonly (ulong Start, ulong End, BitArray Bits)[] _parts;
    private readonly CodeObject _code;
    private readonly int _word;

    public JumpTargets(CodeObject code)
    {
        (_code, _word) = (code, code.Architecture.WordSize);
        _parts = [.. code.Sections.Select(s => (s.Address, s.Address + (ulong)s.Bytes.Length, new BitArray(s.Bytes.Length)))];
        var starts = AddSymbols();
        foreach (var (address, bytes) in code.Sections)
        {
            var copy = bytes.Span.ToArray();
            AddDecoded(copy, address, starts);
            AddNearJumps(copy, address);
        }

        foreach (var section in code.Symbols.Sections)
        {
            if (section is { IsAllocated: true, IsExecutable: false, HasContents: true })
            {
                AddWords(code.ContentsOf(section).Span);
            }
            else if (section.Type is ElfSection.TypeRel or ElfSection.TypeRela)
            {
                AddRelativeWords(section);
            }
        }

        foreach (var target in code.Sites.JumpLabels.Values.Concat(code.Sites.Fixups.Values.Select(f => f.Target)))
        {
            Add(target);
        }
    }

    /// <summary>Whether something may lead to one of the addresses from <paramref name="first"/> to before <paramref name="end"/>.</summary>
    public bool LeadInto(ulong first, ulong end)
    {
        foreach (var (start, limit, bits) in _parts)
        {
            if (first >= start && first < limit)
            {
                for (var at = first; at < Math.Min(end, limit); at++)
                {
                    if (bits[(int)(at - start)])
                    {
                        return true;
                    }
                }
            }
        }

        return false;
    }

    private ulong[] AddSymbols()
    {
        var starts = new List<ulong>(_code.Symbols.Count / 2);
        for (var i = 1; i < _code.Symbols.Count; i++)
        {
            var raw = _code.Symbols.At(i);
            if (raw.Section != ElfSymbol.SectionUndefined && _code.Symbols.IsCandidate(in raw) && _code.IsCode(raw.Value))
            {
                Add(raw.Value);
                starts.Add(raw.Value);
            }
        }

        starts.Sort();
        return [.. starts];
    }

    private void AddDecoded(byte[] bytes, ulong start, ulong[] starts)
    {
        var end = start + (ulong)bytes.Length;
        var next = Array.BinarySearch(starts, start + 1);
        next = next < 0 ? ~next : next;
        var reader = new ByteArrayCodeReader(bytes);
        var decoder = Decoder.Create(_word * 8, reader, start);
        while (decoder.IP < end)
        {
            var at = decoder.IP;
            decoder.Decode(out var instruction);
            var after = instruction.IsInvalid ? at + 1 : decoder.IP;
            while (next < starts.Length && starts[next] <= at)
            {
                next++;
            }

            if (next < starts.Length && starts[next] < after)
            {
                after = starts[next];
            }

            if (after != decoder.IP)
            {
                reader.Position = (int)(after - start);
                decoder.IP = after;
            }

            if (!instruction.IsInvalid)
            {
                AddOperands(in instruction);
            }
        }
    }

    private void AddOperands(in Instruction instruction)
    {
        if (instruction.IsIPRelativeMemoryOperand)
        {
            Add(instruction.IPRelativeMemoryAddress);
        }
        else if (instruction.MemoryDisplacement64 != 0)
        {
            Add(instruction.MemoryDisplacement64);
        }

        for (var i = 0; i < instruction.OpCount; i++)
        {
            switch (instruction.GetOpKind(i))
            {
                case OpKind.NearBranch16 or OpKind.NearBranch32 or OpKind.NearBranch64:
                    Add(instruction.NearBranchTarget);
                    break;
                case OpKind.Immediate32 or OpKind.Immediate32to64 or OpKind.Immediate64:
                    Add(instruction.GetImmediate(i));
                    break;
            }
        }
    }

    private void AddNearJumps(ReadOnlySpan<byte> bytes, ulong start)
    {
        for (var at = 1; at + 4 <= bytes.Length; at++)
        {
            if (bytes[at - 1] is 0xe8 or 0xe9 || ((bytes[at - 1] & 0xf0) == 0x80 && at >= 2 && bytes[at - 2] == 0x0f))
            {
                Add(start + (ulong)at + 4 + (ulong)(long)MemoryMarshal.Read<int>(bytes[at..]));
            }
        }
    }

    private void AddWords(ReadOnlySpan<byte> bytes)
    {
        // Pointers of packed structures are not aligned; on i386 that would find half of all numbers.
        for (var at = 0; at + _word <= bytes.Length; at += _word == 8 ? 1 : 4)
        {
            Add(_word == 8 ? MemoryMarshal.Read<ulong>(bytes[at..]) : MemoryMarshal.Read<uint>(bytes[at..]));
        }
    }

    private void AddRelativeWords(ElfSection table)
    {
        if (table.Info >= (uint)_code.Symbols.Sections.Length || _code.Symbols.Sections[(int)table.Info] is not { IsAllocated: true, IsExecutable: false, HasContents: true } section
            || !(section.Name.StartsWith(".rodata", StringComparison.Ordinal) || section.Name.StartsWith(".data", StringComparison.Ordinal)))
        {
            return;
        }

        var entries = table.Data.Span;
        var contents = _code.ContentsOf(section).Span;
        var start = _code.Symbols.AddressOf(section);
        // Offsets are addresses in vmlinux, and relative to the section in modules.
        var isLinked = section.Address != 0;
        var size = _word * (table.Type == ElfSection.TypeRela ? 3 : 2);
        for (var at = 0; at + size <= entries.Length; at += size)
        {
            var place = _word == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(entries[at..]) : BinaryPrimitives.ReadUInt32LittleEndian(entries[at..]);
            var type = _word == 8 ? BinaryPrimitives.ReadUInt32LittleEndian(entries[(at + 8)..]) : entries[at + 4];
            var offset = isLinked ? place - section.Address : place;
            // R_X86_64_PC32 and R_386_PC32, PLT32.
            if (type is 2 or 4 && offset + 4 <= (ulong)contents.Length)
            {
                Add(start + offset + (ulong)(long)BinaryPrimitives.ReadInt32LittleEndian(contents[(int)offset..]));
            }
        }
    }

    private void Add(ulong target)
    {
        target = _word == 4 ? (uint)target : target;
        foreach (var (start, end, bits) in _parts)
        {
            if (target >= start && target < end)
            {
                bits[(int)(target - start)] = true;
                return;
            }
        }
    }
}
