// Where irq_to_desc() looks (kernel/irq/irqdesc.c): with CONFIG_SPARSE_IRQ in irq_desc_tree, a radix tree (lib/radix-tree.c; its nodes are xarray's since 4.20), and since 6.5 in
// sparse_irqs, a maple tree (include/linux/maple_tree.h, lib/maple_tree.c); without, in the array irq_desc[].
//   radix tree: pointers to nodes have bit 0 set (to 4.19) or bits 1:0 = 2 (xarray: xa_is_node); the root's node is as high as the largest index needs.
//   maple tree: bits 6:3 of a node's pointer are its type, its address is aligned to 256; slot i holds the indexes from pivot[i - 1] + 1 to pivot[i].
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;

namespace KTrace.Debugger.Interrupts;

/// <summary>Finds the irq descriptors of a kernel, by number. Hostile trees are bounded.</summary>
internal sealed class IrqDescriptors
{
    /// <summary>As many descriptors as are listed. Machines with some thousand MSI-X vectors exist; QEMU's have a hundred.</summary>
    public const int Maximum = 8192;

    private const int MaximumNodes = 4096;
    private const int MaximumDepth = 12;
    private const int MaximumSlots = 256;

    // lib/maple_tree.c: MAPLE_NODE_MASK, and enum maple_type.
    private const ulong MapleNodeMask = 255;
    private const int MapleLeaf = 1, MapleRange = 2, MapleAllocationRange = 3;

    private readonly GatheringReader _reader;
    private readonly KernelStruct _node, _range, _allocationRange, _desc;
    private readonly ulong? _radixHead, _mapleHead, _array;
    private readonly long _arrayCount;
    private readonly bool _isXarray;
    private readonly int _word;
    private int _nodes;

    public IrqDescriptors(KernelMap map, KernelStruct desc, GatheringReader reader)
    {
        var layouts = map.Image.Layouts;
        (_reader, _desc, _word) = (reader, desc, map.Image.Architecture.WordSize);
        _isXarray = layouts.TryGetSize("xa_node", out _);
        _node = new KernelStruct(layouts, _isXarray ? "xa_node" : "radix_tree_node");
        _range = new KernelStruct(layouts, "maple_range_64");
        _allocationRange = new KernelStruct(layouts, "maple_arange_64");
        if (Symbol(map, "sparse_irqs") is { } maple)
        {
            _mapleHead = new KernelStruct(layouts, "maple_tree").AddressOf(maple, "ma_root");
        }
        else if (Symbol(map, "irq_desc_tree") is { } radix)
        {
            var root = new KernelStruct(layouts, layouts.TryGetSize("xarray", out _) ? "xarray" : "radix_tree_root");
            _radixHead = root.AddressOf(radix, "xa_head") ?? root.AddressOf(radix, "rnode");
        }
        else if (map.Image.TryFindSymbol("irq_desc", out var array) && desc.IsKnown)
        {
            (_array, _arrayCount) = (map.ToRunTime(array.Value), Math.Min((long)array.Size / desc.Size, Maximum));
        }
    }

    /// <summary>Whether the kernel's symbols and types tell where they are.</summary>
    public bool CanFind => _desc.IsKnown && (_mapleHead is not null || _radixHead is not null || _array is not null);

    /// <summary>Number and address of each, ascending, as far as the trees were fetched.</summary>
    public List<(ulong Irq, ulong Address)> Find()
    {
        var found = new List<(ulong, ulong)>();
        _nodes = 0;
        if (_mapleHead is { } maple)
        {
            WalkMaple(Word(_reader.Read(maple, _word)), 0, ulong.MaxValue, 0, found, isRoot: true);
        }
        else if (_radixHead is { } radix)
        {
            WalkRadix(Word(_reader.Read(radix, _word)), 0, 0, found);
        }
        else
        {
            for (var i = 0; i < _arrayCount; i++)
            {
                found.Add(((ulong)i, _array!.Value + (ulong)(i * _desc.Size)));
            }
        }

        return found;
    }

    private void WalkRadix(ulong entry, ulong index, int depth, List<(ulong Irq, ulong Address)> found)
    {
        if (entry == 0 || found.Count >= Maximum)
        {
            return;
        }

        var isNode = _isXarray ? (entry & 3) == 2 && entry > 4096 : (entry & 3) == 1;
        if (!isNode)
        {
            // With a low bit set it is a value or a mark of the tree itself.
            if ((entry & 3) == 0)
            {
                found.Add((index, entry));
            }

            return;
        }

        if (depth >= MaximumDepth || ++_nodes > MaximumNodes || _reader.Read(entry & ~3UL, _node.Size) is not { } node
            || _node.Find("slots") is not { } slots || _node.Number(node, "shift") is not (< 64 and { } shift))
        {
            return;
        }

        for (var i = 0; i < Math.Min(slots.ElementCount, MaximumSlots); i++)
        {
            WalkRadix(Word(node, slots.ByteOffset + (i * _word)), index + ((ulong)i << (int)shift), depth + 1, found);
        }
    }

    private void WalkMaple(ulong entry, ulong first, ulong last, int depth, List<(ulong Irq, ulong Address)> found, bool isRoot = false)
    {
        if (entry == 0 || found.Count >= Maximum)
        {
            return;
        }

        // The root may be the only entry itself, at index 0.
        if (isRoot && !((entry & 3) == 2 && entry > 4096))
        {
            found.Add((0, entry));
            return;
        }

        var type = (int)((entry >> 3) & 15);
        var layout = type == MapleAllocationRange ? _allocationRange : _range;
        if (depth >= MaximumDepth || ++_nodes > MaximumNodes || type is not (MapleLeaf or MapleRange or MapleAllocationRange)
            || _reader.Read(entry & ~MapleNodeMask, layout.Size) is not { } node || layout.Find("slot") is not { } slots || layout.Find("pivot") is not { } pivots)
        {
            return;
        }

        for (var i = 0; i < Math.Min(slots.ElementCount, MaximumSlots) && first <= last; i++)
        {
            // A pivot of 0 behind the first slot ends the node, as the last slot has none of its own.
            var pivot = i < pivots.ElementCount ? Word(node, pivots.ByteOffset + (i * _word)) : last;
            var end = pivot == 0 && i > 0 ? last : Math.Min(pivot, last);
            var slot = Word(node, slots.ByteOffset + (i * _word));
            if (type == MapleLeaf && slot != 0 && (slot & 3) == 0)
            {
                found.Add((first, slot));
            }
            else if (type != MapleLeaf)
            {
                WalkMaple(slot, first, end, depth + 1, found);
            }

            if (end >= last)
            {
                return;
            }

            first = end + 1;
        }
    }

    private ulong Word(byte[]? bytes, int offset = 0) =>
        bytes is null || offset + _word > bytes.Length ? 0
        : _word == 8 ? System.Buffers.Binary.BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(offset))
        : System.Buffers.Binary.BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(offset));

    private static ulong? Symbol(KernelMap map, string name) => map.Image.TryFindSymbol(name, out var symbol) ? map.ToRunTime(symbol.Value) : null;
}
