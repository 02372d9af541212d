// DWARF expressions and location descriptions: DWARF 5, sections 2.5, 2.6 and 7.7, with the GNU operators that became its own later (numbers from 0xe0 on). GCC writes for
// kernels: breg/fbreg/reg, lit/const/addr, deref and deref_size, arithmetic, comparison and bra, piece, implicit_value, stack_value, entry_value, implicit_pointer, convert
// and its kin, call_frame_cfa. Thread-local storage does not exist in a kernel, other address spaces (xderef) nowhere: both are refused.
// Hostile input: each operator costs one of the context's budget, over all expressions that it leads to; depth and branches are bounded; nothing is read outside.
namespace KTrace.Symbols.Dwarf.Locations;

/// <summary>Evaluates one expression for one frame.</summary>
internal static class LocationExpression
{
    private const int MaximumStack = 64;
    private const int MaximumCalls = 8;

    /// <summary>Evaluates a location description: what stands on the stack at the end is an address.</summary>
    public static ExpressionOutcome Locate(LocationContext context, Unit unit, in ExpressionBytes expression, LocationResult result)
    {
        result.Clear();
        if (expression.IsNone)
        {
            result.TryAdd(new LocationPiece(LocationKind.Empty, 0));
            return ExpressionOutcome.Value;
        }

        try
        {
            var run = new Run(context, unit, result, stackalloc ulong[MaximumStack], stackalloc ushort[MaximumStack]);
            var outcome = run.Execute(in expression, 0);
            if (outcome == ExpressionOutcome.Value && result.Count == 0)
            {
                outcome = run.Finish();
            }

            return result.Outcome = outcome;
        }
        catch (MalformedFileException e)
        {
            return result.Fail(ExpressionOutcome.Unusable, 0, e.Message);
        }
    }

    /// <summary>Evaluates an expression whose result is a number: DW_AT_call_value, DW_AT_frame_base's address, a call's target.</summary>
    public static ExpressionOutcome Compute(LocationContext context, Unit unit, in ExpressionBytes expression, ref ValueSources sources, out ulong value)
    {
        var result = context.Results.Count > 0 ? context.Results.Pop() : new LocationResult();
        var outcome = Compute(context, unit, in expression, result, ref sources, out value);
        context.Results.Push(result);
        return outcome;
    }

    private static ExpressionOutcome Compute(
        LocationContext context, Unit unit, in ExpressionBytes expression, LocationResult result, ref ValueSources sources, out ulong value)
    {
        value = 0;
        var outcome = Locate(context, unit, in expression, result);
        sources |= result.Sources;
        if (outcome != ExpressionOutcome.Value)
        {
            value = result.FailedAddress;
            return outcome;
        }

        if (result.Count != 1 || result.Pieces[0].Bits != 0)
        {
            return ExpressionOutcome.Unusable;
        }

        var piece = result.Pieces[0];
        switch (piece.Kind)
        {
            case LocationKind.Memory or LocationKind.Value:
                value = piece.Value;
                return ExpressionOutcome.Value;
            case LocationKind.Register:
                return context.TryRegister((int)piece.Value, out value, ref sources) ? ExpressionOutcome.Value : ExpressionOutcome.Unusable;
            case LocationKind.Bytes when piece.Bytes.Length <= 8:
                for (var i = 0; i < piece.Bytes.Length; i++)
                {
                    value |= (ulong)piece.Bytes.Span[i] << (8 * i);
                }

                return ExpressionOutcome.Value;
            default:
                return ExpressionOutcome.Unusable;
        }
    }

    private ref struct Run(LocationContext context, Unit unit, LocationResult result, Span<ulong> stack, Span<ushort> types)
    {
        private readonly LocationContext _context = context;
        private readonly LocationResult _result = result;
        private readonly Span<ulong> _stack = stack;
        private readonly Span<ushort> _types = types;
        private Unit _unit = unit;
        private int _depth;
        private LocationPiece? _simple;

        /// <summary>The location at the end of an expression without pieces.</summary>
        public ExpressionOutcome Finish()
        {
            if (_simple is null && _depth == 0)
            {
                return Unusable(null);
            }

            _result.TryAdd(_simple ?? new LocationPiece(LocationKind.Memory, _stack[_depth - 1]));
            return ExpressionOutcome.Value;
        }

        public ExpressionOutcome Execute(in ExpressionBytes expression, int calls)
        {
            var reader = expression.Section!.ReaderAt(expression.Start);
            var (start, end) = (expression.Start, expression.Start + expression.Length);
            if (end > expression.Section.Length)
            {
                throw reader.Malformed("an expression that runs out of its section");
            }

            while (reader.Position < end)
            {
                if (--_context.Budget < 0)
                {
                    return Unusable("too many operators");
                }

                var op = reader.ReadU8();
                // Behind a register or an implicit value only a piece may follow (section 2.6.1.1).
                if (_simple is not null && op is not (DwOp.Piece or DwOp.BitPiece or DwOp.Nop or DwOp.GnuUninit))
                {
                    return Unusable($"operator 0x{op:x} behind a location");
                }

                var outcome = op switch
                {
                    DwOp.Skip or DwOp.Bra => Branch(op, ref reader, start, end),
                    DwOp.Call2 or DwOp.Call4 or DwOp.CallRef => Call(op, ref reader, calls),
                    DwOp.Piece or DwOp.BitPiece => Piece(op, ref reader),
                    _ => Step(op, ref reader),
                };
                if (outcome != ExpressionOutcome.Value)
                {
                    return outcome;
                }
            }

            return reader.Position == end ? ExpressionOutcome.Value : Unusable("an operand that runs over the expression's end");
        }

        private readonly int AddressSize => _unit.Header.AddressSize;

        private ExpressionOutcome Step(byte op, ref ByteReader reader)
        {
            switch (op)
            {
                case >= DwOp.Lit0 and <= DwOp.Lit31:
                    return Push((ulong)(op - DwOp.Lit0));
                case >= DwOp.Breg0 and <= DwOp.Breg31:
                    return PushRegister((ulong)(op - DwOp.Breg0), reader.ReadSleb128(), 0);
                case >= DwOp.Reg0 and <= DwOp.Reg31:
                    return Place(new LocationPiece(LocationKind.Register, (ulong)(op - DwOp.Reg0)));
                case DwOp.Regx:
                    var number = reader.ReadUleb128();
                    return number > int.MaxValue ? Unusable(null) : Place(new LocationPiece(LocationKind.Register, number));
                case DwOp.Bregx:
                    return PushRegister(reader.ReadUleb128(), reader.ReadSleb128(), 0);
                case DwOp.Fbreg:
                    var distance = reader.ReadSleb128();
                    var based = _context.FrameBase(out var frameBase);
                    return based == ExpressionOutcome.Value ? Push(frameBase + (ulong)distance) : Fail(based, frameBase);
                case DwOp.CallFrameCfa:
                    var framed = _context.CallFrameAddress(out var cfa);
                    return framed == ExpressionOutcome.Value ? Push(cfa) : Fail(framed, cfa);
                case DwOp.Addr:
                    return Push(_context.ToRunTime(reader.ReadAddress(AddressSize)));
                case DwOp.Addrx or DwOp.GnuAddrIndex:
                    return Push(_context.ToRunTime(_unit.AddressAt(reader.ReadUleb128())));
                case DwOp.Constx or DwOp.GnuConstIndex:
                    return Push(_unit.AddressAt(reader.ReadUleb128()));
                case DwOp.Const1U:
                    return Push(reader.ReadU8());
                case DwOp.Const1S:
                    return Push((ulong)(sbyte)reader.ReadU8());
                case DwOp.Const2U:
                    return Push(reader.ReadU16());
                case DwOp.Const2S:
                    return Push((ulong)(short)reader.ReadU16());
                case DwOp.Const4U:
                    return Push(reader.ReadU32());
                case DwOp.Const4S:
                    return Push((ulong)(int)reader.ReadU32());
                case DwOp.Const8U or DwOp.Const8S:
                    return Push(reader.ReadU64());
                case DwOp.ConstU:
                    return Push(reader.ReadUleb128());
                case DwOp.ConstS:
                    return Push((ulong)reader.ReadSleb128());
                case DwOp.Nop or DwOp.GnuUninit:
                    return ExpressionOutcome.Value;
                case DwOp.PushObjectAddress:
                    return _context.ObjectAddress is { } address ? Push(address) : Unusable("no object whose address could be pushed");
                case DwOp.FormTlsAddress or DwOp.GnuPushTlsAddress:
                    return Unusable("thread-local storage");
                case DwOp.Xderef or DwOp.XderefSize or DwOp.XderefType:
                    return Unusable("another address space");
                case DwOp.EntryValue or DwOp.GnuEntryValue:
                    var length = reader.ReadUleb128();
                    var nested = new ExpressionBytes(SectionOf(ref reader), reader.Position, (int)Math.Min(length, int.MaxValue));
                    reader.Skip(length);
                    var sources = ValueSources.None;
                    var entered = _context.EntryValue(_unit, nested, ref sources, out var entryValue);
                    _result.Sources |= sources;
                    return entered == ExpressionOutcome.Value ? Push(entryValue) : Fail(entered, entryValue);
                case DwOp.GnuParameterRef:
                    var parameterSources = ValueSources.None;
                    var passed = _context.ParameterAtEntry(_unit.Header.Offset + (long)reader.ReadU32(), ref parameterSources, out var parameter);
                    _result.Sources |= parameterSources;
                    return passed == ExpressionOutcome.Value ? Push(parameter) : Fail(passed, parameter);
                case DwOp.ImplicitValue:
                    var size = reader.ReadUleb128();
                    var bytes = new ExpressionBytes(SectionOf(ref reader), reader.Position, (int)Math.Min(size, int.MaxValue));
                    reader.Skip(size);
                    return Place(new LocationPiece(LocationKind.Bytes, 0, 0, bytes));
                case DwOp.ImplicitPointer or DwOp.GnuImplicitPointer:
                    var target = _unit.Header.Version <= 2 ? reader.ReadAddress(AddressSize) : reader.ReadAddress(_unit.Header.OffsetSize);
                    return Place(new LocationPiece(LocationKind.ImplicitPointer, target, reader.ReadSleb128()));
                case DwOp.ConstType or DwOp.GnuConstType:
                    var constantType = _context.BaseType(_unit, reader.ReadUleb128());
                    var constantSize = reader.ReadU8();
                    var constant = reader.Take(constantSize);
                    return constantType == 0 || constantSize > 8 ? Unusable("a constant of a type that is not known") : PushTyped(Number(constant), constantType);
                case DwOp.RegvalType or DwOp.GnuRegvalType:
                    var register = reader.ReadUleb128();
                    var registerType = _context.BaseType(_unit, reader.ReadUleb128());
                    return registerType == 0 ? Unusable("a register of a type that is not known") : PushRegister(register, 0, registerType);
            }

            return _depth == 0 ? Unusable($"operator 0x{op:x} without an operand") : OnStack(op, ref reader);
        }

        private ExpressionOutcome OnStack(byte op, ref ByteReader reader)
        {
            ref var top = ref _stack[_depth - 1];
            ref var type = ref _types[_depth - 1];
            switch (op)
            {
                case DwOp.StackValue:
                    return Place(new LocationPiece(LocationKind.Value, top));
                case DwOp.Deref:
                    return Dereference(AddressSize, 0);
                case DwOp.DerefSize:
                    return Dereference(reader.ReadU8(), 0);
                case DwOp.DerefType or DwOp.GnuDerefType:
                    var size = reader.ReadU8();
                    var memoryType = _context.BaseType(_unit, reader.ReadUleb128());
                    return memoryType == 0 ? Unusable("memory of a type that is not known") : Dereference(size, memoryType);
                case DwOp.Dup:
                    return PushTyped(top, type);
                case DwOp.Drop:
                    _depth--;
                    return ExpressionOutcome.Value;
                case DwOp.Pick:
                    int index = reader.ReadU8();
                    return index >= _depth ? Unusable(null) : PushTyped(_stack[_depth - 1 - index], _types[_depth - 1 - index]);
                case DwOp.PlusUconst:
                    top = ExpressionArithmetic.Normalize(top + reader.ReadUleb128(), type, AddressSize);
                    return ExpressionArithmetic.IsFloat(type) ? Unusable(null) : ExpressionOutcome.Value;
                case DwOp.Abs or DwOp.Neg or DwOp.Not:
                    top = ExpressionArithmetic.Unary(op, top, type, AddressSize);
                    return ExpressionArithmetic.IsFloat(type) ? Unusable(null) : ExpressionOutcome.Value;
                case DwOp.Convert or DwOp.GnuConvert or DwOp.Reinterpret or DwOp.GnuReinterpret:
                    return Retype(op is DwOp.Convert or DwOp.GnuConvert, reader.ReadUleb128(), ref top, ref type);
            }

            if (_depth < 2)
            {
                return Unusable($"operator 0x{op:x} without its operands");
            }

            ref var second = ref _stack[_depth - 2];
            ref var secondType = ref _types[_depth - 2];
            switch (op)
            {
                case DwOp.Over:
                    return PushTyped(second, secondType);
                case DwOp.Swap:
                    (top, second) = (second, top);
                    (type, secondType) = (secondType, type);
                    return ExpressionOutcome.Value;
                case DwOp.Rot when _depth > 2:
                    ref var third = ref _stack[_depth - 3];
                    ref var thirdType = ref _types[_depth - 3];
                    (top, second, third) = (second, third, top);
                    (type, secondType, thirdType) = (secondType, thirdType, type);
                    return ExpressionOutcome.Value;
            }

            // A shift's count may be of another type than what is shifted.
            var isShift = op is DwOp.Shl or DwOp.Shr or DwOp.Shra;
            if (ExpressionArithmetic.IsFloat(type) || ExpressionArithmetic.IsFloat(secondType) || (!isShift && type != secondType)
                || !ExpressionArithmetic.TryBinary(op, second, top, secondType, AddressSize, out var combined, out var combinedType))
            {
                return Unusable($"operator 0x{op:x}");
            }

            (second, secondType) = (combined, combinedType);
            _depth--;
            return ExpressionOutcome.Value;
        }

        private readonly ExpressionOutcome Retype(bool convert, ulong offset, ref ulong top, ref ushort type)
        {
            var to = offset == 0 ? (ushort)0 : _context.BaseType(_unit, offset);
            var (size, oldSize) = (to == 0 ? AddressSize : to & 0xff, type == 0 ? AddressSize : type & 0xff);
            if ((to == 0 && offset != 0) || (!convert && size != oldSize))
            {
                return Unusable("a conversion to a type that is not known, or of another size");
            }

            var value = top;
            if (convert && !ExpressionArithmetic.TryConvert(top, type, to, AddressSize, out value))
            {
                return Unusable("a conversion of floating-point numbers");
            }

            (top, type) = (ExpressionArithmetic.Normalize(value, to, AddressSize), to);
            return ExpressionOutcome.Value;
        }

        private readonly ExpressionOutcome Dereference(int size, ushort type)
        {
            if (size is 0 or > 8)
            {
                return Unusable("a dereference of more than 8 bytes");
            }

            Span<byte> bytes = stackalloc byte[8];
            var address = _stack[_depth - 1];
            var outcome = _context.Read(address, bytes[..size]);
            if (outcome != Unwind.MemoryReadResult.Ok)
            {
                return Fail(outcome == Unwind.MemoryReadResult.NotFetched ? ExpressionOutcome.NotFetched : ExpressionOutcome.Unreadable, address);
            }

            _result.Sources |= ValueSources.Memory;
            _stack[_depth - 1] = ExpressionArithmetic.Normalize(Number(bytes[..size]), type, AddressSize);
            _types[_depth - 1] = type;
            return ExpressionOutcome.Value;
        }

        private ExpressionOutcome PushRegister(ulong register, long offset, ushort type)
        {
            var sources = ValueSources.None;
            if (register > int.MaxValue || !_context.TryRegister((int)register, out var value, ref sources))
            {
                return Unusable(null);
            }

            _result.Sources |= sources;
            return PushTyped(value + (ulong)offset, type);
        }

        private ExpressionOutcome Push(ulong value) => PushTyped(value, 0);

        private ExpressionOutcome PushTyped(ulong value, ushort type)
        {
            if (_depth == MaximumStack)
            {
                return Unusable("a stack that is too deep");
            }

            _stack[_depth] = ExpressionArithmetic.Normalize(value, type, AddressSize);
            _types[_depth++] = type;
            return ExpressionOutcome.Value;
        }

        private ExpressionOutcome Place(in LocationPiece location)
        {
            _simple = location;
            return ExpressionOutcome.Value;
        }

        private ExpressionOutcome Piece(byte op, ref ByteReader reader)
        {
            var size = reader.ReadUleb128();
            var offset = op == DwOp.BitPiece ? reader.ReadUleb128() : 0;
            if (size > int.MaxValue || offset > int.MaxValue)
            {
                return Unusable("a piece of more than 2 GiB");
            }

            var location = _simple ?? (_depth > 0 ? new LocationPiece(LocationKind.Memory, _stack[_depth - 1]) : new LocationPiece(LocationKind.Empty, 0));
            if (_depth > 0 && location.Kind is LocationKind.Memory or LocationKind.Value)
            {
                _depth--;
            }

            _simple = null;
            return _result.TryAdd(location with { Bits = op == DwOp.Piece ? (long)size * 8 : (long)size, BitOffset = (long)offset })
                ? ExpressionOutcome.Value
                : Unusable("too many pieces");
        }

        private ExpressionOutcome Branch(byte op, ref ByteReader reader, int start, int end)
        {
            var distance = (short)reader.ReadU16();
            var target = reader.Position + distance;
            if (target < start || target > end)
            {
                return Unusable("a branch out of its expression");
            }

            if (op == DwOp.Bra)
            {
                if (_depth == 0)
                {
                    return Unusable("a branch without a condition");
                }

                if (_stack[--_depth] == 0)
                {
                    return ExpressionOutcome.Value;
                }
            }

            reader.Position = target;
            return ExpressionOutcome.Value;
        }

        private ExpressionOutcome Call(byte op, ref ByteReader reader, int calls)
        {
            var entry = op switch
            {
                DwOp.Call2 => _unit.Header.Offset + (long)reader.ReadU16(),
                DwOp.Call4 => _unit.Header.Offset + (long)reader.ReadU32(),
                _ => (long)Math.Min(reader.ReadAddress(_unit.Header.OffsetSize), long.MaxValue),
            };
            if (calls == MaximumCalls || !_context.TryLocationOf(_unit, entry, out var owner, out var expression))
            {
                return Unusable("a call of a DIE that cannot be called");
            }

            if (expression.IsNone)
            {
                // A DIE without a location leaves the stack as it is (section 2.5.1.5).
                return ExpressionOutcome.Value;
            }

            var unit = _unit;
            _unit = owner;
            var outcome = Execute(in expression, calls + 1);
            _unit = unit;
            return outcome;
        }

        private static ulong Number(ReadOnlySpan<byte> bytes)
        {
            ulong value = 0;
            for (var i = 0; i < bytes.Length && i < 8; i++)
            {
                value |= (ulong)bytes[i] << (8 * i);
            }

            return value;
        }

        private static SectionData SectionOf(ref ByteReader reader) => reader.Section;

        private readonly ExpressionOutcome Unusable(string? why) => _result.Fail(ExpressionOutcome.Unusable, 0, why);

        private readonly ExpressionOutcome Fail(ExpressionOutcome outcome, ulong address) => _result.Fail(outcome, address);
    }
}
