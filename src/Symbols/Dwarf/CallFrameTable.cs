// Call frame information: .debug_frame (DWARF 5, section 6.4) and .eh_frame (LSB core). CIE versions 1, 3 and 4, both DWARF
// formats. Kernels: vmlinux has 2.6 MB of .debug_frame (one CIE per unit: ld does not merge them there), in the order of the
// units and not of addresses, and no .eh_frame. It covers C; entry assembly carries no CFI since 4.x.
// The index is built at the first lookup: start, length and offset of every FDE in plain arrays, sorted by start. A lookup
// parses one FDE and its CIE and nothing else.
using System.Collections.Concurrent;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Dwarf;

/// <summary>The CFI of one object, at the addresses for which its sections were linked or relocated. Thread-safe.</summary>
public sealed class CallFrameTable : IUnwindRowSource
{
    private readonly ISectionSource _source;
    private readonly Architecture _architecture;
    private readonly Lazy<Index> _debugFrame;
    private readonly Lazy<Index> _ehFrame;

    public CallFrameTable(ISectionSource source, Architecture architecture)
    {
        _source = source;
        _architecture = architecture;
        _debugFrame = new Lazy<Index>(() => Index.Build(source, ".debug_frame", new CallFrameSection(IsEhFrame: false)));
        _ehFrame = new Lazy<Index>(() => Index.Build(source, ".eh_frame", new CallFrameSection(IsEhFrame: true)));
    }

    /// <summary>Number of FDEs that cover code; builds the index.</summary>
    public int Count => _debugFrame.Value.Count + _ehFrame.Value.Count;

    /// <summary>The first thing that was wrong with either section, or null. Entries before it are used.</summary>
    public MalformedFileException? Damage => _debugFrame.Value.Damage ?? _ehFrame.Value.Damage;

    public UnwindRow? FindRow(ulong address) => Find(_debugFrame.Value, address) ?? Find(_ehFrame.Value, address);

    /// <summary>The code that one FDE covers: start and size in bytes; false when none covers the address.</summary>
    public bool TryFindRange(ulong address, out ulong start, out ulong size)
    {
        foreach (var index in (ReadOnlySpan<Index>)[_debugFrame.Value, _ehFrame.Value])
        {
            var i = index.Find(address);
            if (i >= 0)
            {
                (start, size) = (index.Starts[i], index.Entries[i].Size);
                return true;
            }
        }

        (start, size) = (0, 0);
        return false;
    }

    private UnwindRow? Find(Index index, ulong address)
    {
        var i = index.Find(address);
        if (i < 0)
        {
            return null;
        }

        try
        {
            return index.Execute(i, address, _architecture);
        }
        catch (MalformedFileException)
        {
            return null;
        }
    }

    private readonly record struct Entry(uint Size, int Offset);

    private sealed class Index
    {
        private readonly SectionData _section;
        private readonly CallFrameSection _kind;
        private readonly ulong _sectionAddress;
        private readonly int _addressSize;
        private readonly ConcurrentDictionary<int, Cie> _cies = new();

        private Index(ISectionSource source, string name, CallFrameSection kind)
        {
            _section = source.GetSection(name);
            _sectionAddress = source.GetSectionAddress(name);
            _addressSize = source.AddressSize;
            _kind = kind;
        }

        public int Count { get; private set; }

        public ulong[] Starts { get; private set; } = [];

        public Entry[] Entries { get; private set; } = [];

        public MalformedFileException? Damage { get; private set; }

        public static Index Build(ISectionSource source, string name, CallFrameSection kind)
        {
            var index = new Index(source, name, kind);
            index.Scan();
            return index;
        }

        public int Find(ulong address)
        {
            var i = Array.BinarySearch(Starts, 0, Count, address);
            if (i < 0)
            {
                i = ~i - 1;
            }
            else
            {
                // Several FDEs may start at one address (an alias' empty twin is dropped, others are equal): any will do.
                return i;
            }

            return i >= 0 && address - Starts[i] < Entries[i].Size ? i : -1;
        }

        public UnwindRow? Execute(int i, ulong address, Architecture architecture)
        {
            var r = _section.ReaderAt(Entries[i].Offset);
            var (end, is64) = CallFrameSection.ReadLength(ref r);
            var cie = CieOf(ref r, is64) ?? throw r.Malformed("an FDE without a CIE");
            r.Skip((ulong)cie.SegmentSelectorSize);
            var start = PointerEncoding.Read(ref r, cie.AddressEncoding, cie.AddressSize, _sectionAddress);
            PointerEncoding.ReadValue(ref r, cie.AddressEncoding, cie.AddressSize);
            if (cie.HasAugmentationLength)
            {
                r.Skip(r.ReadUleb128());
            }

            if (r.Position > end)
            {
                throw r.Malformed("an FDE that is longer than its length");
            }

            return new CallFrameInstructions(_section, cie, _sectionAddress, architecture.DwarfRegisterCount)
                .FindRow(r.Position, end, start, address, architecture.ProgramCounter);
        }

        private Cie? CieOf(ref ByteReader r, bool is64)
        {
            var field = r.Position;
            var offset = _kind.CieOffset(is64 ? r.ReadU64() : r.ReadU32(), field, _section.Length);
            if (offset < 0)
            {
                return null;
            }

            if (!_cies.TryGetValue(offset, out var cie))
            {
                cie = Cie.Read(_section, _kind, offset, _addressSize);
                _cies[offset] = cie;
            }

            return cie;
        }

        private void Scan()
        {
            // An FDE takes at least a length, a CIE pointer, an address and a size.
            var capacity = Math.Min(_section.Length / (8 + (2 * _addressSize)), 1 << 16);
            Starts = new ulong[capacity];
            Entries = new Entry[capacity];
            var r = _section.ReaderAt(0);
            Cie? cie = null;
            try
            {
                while (r.Remaining >= 4)
                {
                    var offset = r.Position;
                    var (end, is64) = CallFrameSection.ReadLength(ref r);
                    if (end == r.Position)
                    {
                        continue; // .eh_frame's terminator; objects linked together may have several
                    }

                    var field = r.Position;
                    var id = is64 ? r.ReadU64() : r.ReadU32();
                    if (id != _kind.CieId(is64))
                    {
                        var cieOffset = _kind.CieOffset(id, field, _section.Length);
                        if (cie?.Offset != cieOffset)
                        {
                            r.Position = field;
                            cie = TryCieOf(ref r, is64);
                        }

                        if (cie is not null)
                        {
                            AddFde(ref r, cie, offset);
                        }
                    }

                    r.Position = end;
                }
            }
            catch (MalformedFileException e)
            {
                Damage = e;
            }

            Sort();
        }

        private Cie? TryCieOf(ref ByteReader r, bool is64)
        {
            try
            {
                return CieOf(ref r, is64);
            }
            catch (MalformedFileException e)
            {
                Damage ??= e;
                return null;
            }
        }

        private void AddFde(ref ByteReader r, Cie cie, int offset)
        {
            ulong start, size;
            try
            {
                r.Skip((ulong)cie.SegmentSelectorSize);
                start = PointerEncoding.Read(ref r, cie.AddressEncoding, cie.AddressSize, _sectionAddress);
                size = PointerEncoding.ReadValue(ref r, (byte)(cie.AddressEncoding & 0x0f), cie.AddressSize);
            }
            catch (MalformedFileException e)
            {
                Damage ??= e;
                return;
            }

            // Functions that the linker discarded stay as 0, or as size 0.
            if (size is 0 or > uint.MaxValue || start == 0)
            {
                return;
            }

            if (Count == Starts.Length)
            {
                var capacity = Math.Max(16, Count * 2);
                var (starts, entries) = (Starts, Entries);
                Array.Resize(ref starts, capacity);
                Array.Resize(ref entries, capacity);
                (Starts, Entries) = (starts, entries);
            }

            Starts[Count] = start;
            Entries[Count] = new Entry((uint)size, offset);
            Count++;
        }

        private void Sort()
        {
            for (var i = 1; i < Count; i++)
            {
                if (Starts[i] < Starts[i - 1])
                {
                    Array.Sort(Starts, Entries, 0, Count);
                    return;
                }
            }
        }
    }
}
