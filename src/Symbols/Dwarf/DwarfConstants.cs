// DWARF 5, section 7 (DWARF 2 to 4 use the same numbers), with the GNU extensions that GCC, GAS, clang and dwz write.
// Only what KTrace looks at has a name; everything else is skipped by its form.
namespace KTrace.Symbols.Dwarf;

/// <summary>DW_TAG_*, DWARF 5, table 7.3.</summary>
internal static class DwTag
{
    public const ushort ArrayType = 0x01;
    public const ushort ClassType = 0x02;
    public const ushort EntryPoint = 0x03;
    public const ushort EnumerationType = 0x04;
    public const ushort FormalParameter = 0x05;
    public const ushort LexicalBlock = 0x0b;
    public const ushort Member = 0x0d;
    public const ushort PointerType = 0x0f;
    public const ushort ReferenceType = 0x10;
    public const ushort CompileUnit = 0x11;
    public const ushort StructureType = 0x13;
    public const ushort SubroutineType = 0x15;
    public const ushort Typedef = 0x16;
    public const ushort UnionType = 0x17;
    public const ushort UnspecifiedParameters = 0x18;
    public const ushort Inheritance = 0x1c;
    public const ushort InlinedSubroutine = 0x1d;
    public const ushort Module = 0x1e;
    public const ushort SubrangeType = 0x21;
    public const ushort BaseType = 0x24;
    public const ushort Enumerator = 0x28;
    public const ushort ConstType = 0x26;
    public const ushort Subprogram = 0x2e;
    public const ushort Variable = 0x34;
    public const ushort VolatileType = 0x35;
    public const ushort RestrictType = 0x37;
    public const ushort Namespace = 0x39;
    public const ushort UnspecifiedType = 0x3b;
    public const ushort PartialUnit = 0x3c;
    public const ushort RvalueReferenceType = 0x42;
    public const ushort AtomicType = 0x47;
    public const ushort TypeUnit = 0x41;
    public const ushort CallSiteParameter = 0x49;
    public const ushort SkeletonUnit = 0x4a;
    public const ushort GnuCallSiteParameter = 0x410a;
}

/// <summary>DW_AT_*, DWARF 5, table 7.5.</summary>
internal static class DwAt
{
    public const ushort Sibling = 0x01;
    public const ushort Location = 0x02;
    public const ushort Name = 0x03;
    public const ushort ByteSize = 0x0b;
    public const ushort BitOffset = 0x0c;
    public const ushort BitSize = 0x0d;
    public const ushort StmtList = 0x10;
    public const ushort LowPc = 0x11;
    public const ushort HighPc = 0x12;
    public const ushort Language = 0x13;
    public const ushort CompDir = 0x1b;
    public const ushort ConstValue = 0x1c;
    public const ushort Inline = 0x20;
    public const ushort UpperBound = 0x2f;
    public const ushort AbstractOrigin = 0x31;
    public const ushort CallingConvention = 0x36;
    public const ushort Count = 0x37;
    public const ushort DataMemberLocation = 0x38;
    public const ushort DeclColumn = 0x39;
    public const ushort DeclFile = 0x3a;
    public const ushort DeclLine = 0x3b;
    public const ushort Declaration = 0x3c;
    public const ushort Encoding = 0x3e;
    public const ushort External = 0x3f;
    public const ushort FrameBase = 0x40;
    public const ushort Specification = 0x47;
    public const ushort Type = 0x49;
    public const ushort EntryPc = 0x52;
    public const ushort Ranges = 0x55;
    public const ushort CallColumn = 0x57;
    public const ushort CallFile = 0x58;
    public const ushort CallLine = 0x59;
    public const ushort Signature = 0x69;
    public const ushort DataBitOffset = 0x6b;
    public const ushort LinkageName = 0x6e;
    public const ushort StrOffsetsBase = 0x72;
    public const ushort AddrBase = 0x73;
    public const ushort RnglistsBase = 0x74;
    public const ushort CallReturnPc = 0x7d;
    public const ushort CallValue = 0x7e;
    public const ushort CallOrigin = 0x7f;
    public const ushort CallParameter = 0x80;
    public const ushort CallTarget = 0x83;
    public const ushort CallDataValue = 0x86;
    public const ushort LoclistsBase = 0x8c;
    public const ushort MipsLinkageName = 0x2007;
    public const ushort GnuCallSiteValue = 0x2111;
    public const ushort GnuCallSiteDataValue = 0x2112;
    public const ushort GnuCallSiteTarget = 0x2113;
    public const ushort GnuAddrBase = 0x2133;
}

/// <summary>DW_FORM_*, DWARF 5, table 7.6, and the GNU forms of split and supplementary files.</summary>
internal static class DwForm
{
    public const ushort Addr = 0x01;
    public const ushort Block2 = 0x03;
    public const ushort Block4 = 0x04;
    public const ushort Data2 = 0x05;
    public const ushort Data4 = 0x06;
    public const ushort Data8 = 0x07;
    public const ushort String = 0x08;
    public const ushort Block = 0x09;
    public const ushort Block1 = 0x0a;
    public const ushort Data1 = 0x0b;
    public const ushort Flag = 0x0c;
    public const ushort Sdata = 0x0d;
    public const ushort Strp = 0x0e;
    public const ushort Udata = 0x0f;
    public const ushort RefAddr = 0x10;
    public const ushort Ref1 = 0x11;
    public const ushort Ref2 = 0x12;
    public const ushort Ref4 = 0x13;
    public const ushort Ref8 = 0x14;
    public const ushort RefUdata = 0x15;
    public const ushort Indirect = 0x16;
    public const ushort SecOffset = 0x17;
    public const ushort Exprloc = 0x18;
    public const ushort FlagPresent = 0x19;
    public const ushort Strx = 0x1a;
    public const ushort Addrx = 0x1b;
    public const ushort RefSup4 = 0x1c;
    public const ushort StrpSup = 0x1d;
    public const ushort Data16 = 0x1e;
    public const ushort LineStrp = 0x1f;
    public const ushort RefSig8 = 0x20;
    public const ushort ImplicitConst = 0x21;
    public const ushort Loclistx = 0x22;
    public const ushort Rnglistx = 0x23;
    public const ushort RefSup8 = 0x24;
    public const ushort Strx1 = 0x25;
    public const ushort Strx2 = 0x26;
    public const ushort Strx3 = 0x27;
    public const ushort Strx4 = 0x28;
    public const ushort Addrx1 = 0x29;
    public const ushort Addrx2 = 0x2a;
    public const ushort Addrx3 = 0x2b;
    public const ushort Addrx4 = 0x2c;
    public const ushort GnuAddrIndex = 0x1f01;
    public const ushort GnuStrIndex = 0x1f02;
    public const ushort GnuRefAlt = 0x1f20;
    public const ushort GnuStrpAlt = 0x1f21;
}

/// <summary>DW_UT_*, DWARF 5, table 7.2.</summary>
internal static class DwUt
{
    public const byte Compile = 1;
    public const byte Type = 2;
    public const byte Partial = 3;
    public const byte Skeleton = 4;
    public const byte SplitCompile = 5;
    public const byte SplitType = 6;
}

/// <summary>DW_LNS_* (DWARF 5, table 7.25), DW_LNE_* (table 7.26) and DW_LNCT_* (table 7.27).</summary>
internal static class DwLine
{
    public const byte Copy = 1;
    public const byte AdvancePc = 2;
    public const byte AdvanceLine = 3;
    public const byte SetFile = 4;
    public const byte SetColumn = 5;
    public const byte NegateStmt = 6;
    public const byte SetBasicBlock = 7;
    public const byte ConstAddPc = 8;
    public const byte FixedAdvancePc = 9;
    public const byte SetPrologueEnd = 10;
    public const byte SetEpilogueBegin = 11;
    public const byte SetIsa = 12;

    public const byte ExtendedEndSequence = 1;
    public const byte ExtendedSetAddress = 2;
    public const byte ExtendedDefineFile = 3;
    public const byte ExtendedSetDiscriminator = 4;

    public const ulong ContentPath = 1;
    public const ulong ContentDirectoryIndex = 2;
}

/// <summary>DW_RLE_*, DWARF 5, table 7.30.</summary>
internal static class DwRle
{
    public const byte EndOfList = 0;
    public const byte BaseAddressx = 1;
    public const byte StartxEndx = 2;
    public const byte StartxLength = 3;
    public const byte OffsetPair = 4;
    public const byte BaseAddress = 5;
    public const byte StartEnd = 6;
    public const byte StartLength = 7;
}

/// <summary>DW_LLE_*, DWARF 5, table 7.10, and GNU's entry for -gvariable-location-views=incompat5.</summary>
internal static class DwLle
{
    public const byte EndOfList = 0;
    public const byte BaseAddressx = 1;
    public const byte StartxEndx = 2;
    public const byte StartxLength = 3;
    public const byte OffsetPair = 4;
    public const byte DefaultLocation = 5;
    public const byte BaseAddress = 6;
    public const byte StartEnd = 7;
    public const byte StartLength = 8;
    public const byte GnuViewPair = 9;
}

/// <summary>DW_OP_*, DWARF 5, table 7.9, and the numbers that GNU gave to those of version 5 before.</summary>
internal static class DwOp
{
    public const byte Addr = 0x03;
    public const byte Deref = 0x06;
    public const byte Const1U = 0x08;
    public const byte Const1S = 0x09;
    public const byte Const2U = 0x0a;
    public const byte Const2S = 0x0b;
    public const byte Const4U = 0x0c;
    public const byte Const4S = 0x0d;
    public const byte Const8U = 0x0e;
    public const byte Const8S = 0x0f;
    public const byte ConstU = 0x10;
    public const byte ConstS = 0x11;
    public const byte Dup = 0x12;
    public const byte Drop = 0x13;
    public const byte Over = 0x14;
    public const byte Pick = 0x15;
    public const byte Swap = 0x16;
    public const byte Rot = 0x17;
    public const byte Xderef = 0x18;
    public const byte Abs = 0x19;
    public const byte And = 0x1a;
    public const byte Div = 0x1b;
    public const byte Minus = 0x1c;
    public const byte Mod = 0x1d;
    public const byte Mul = 0x1e;
    public const byte Neg = 0x1f;
    public const byte Not = 0x20;
    public const byte Or = 0x21;
    public const byte Plus = 0x22;
    public const byte PlusUconst = 0x23;
    public const byte Shl = 0x24;
    public const byte Shr = 0x25;
    public const byte Shra = 0x26;
    public const byte Xor = 0x27;
    public const byte Bra = 0x28;
    public const byte Eq = 0x29;
    public const byte Ge = 0x2a;
    public const byte Gt = 0x2b;
    public const byte Le = 0x2c;
    public const byte Lt = 0x2d;
    public const byte Ne = 0x2e;
    public const byte Skip = 0x2f;
    public const byte Lit0 = 0x30;
    public const byte Lit31 = 0x4f;
    public const byte Reg0 = 0x50;
    public const byte Reg31 = 0x6f;
    public const byte Breg0 = 0x70;
    public const byte Breg31 = 0x8f;
    public const byte Regx = 0x90;
    public const byte Fbreg = 0x91;
    public const byte Bregx = 0x92;
    public const byte Piece = 0x93;
    public const byte DerefSize = 0x94;
    public const byte XderefSize = 0x95;
    public const byte Nop = 0x96;
    public const byte PushObjectAddress = 0x97;
    public const byte Call2 = 0x98;
    public const byte Call4 = 0x99;
    public const byte CallRef = 0x9a;
    public const byte FormTlsAddress = 0x9b;
    public const byte CallFrameCfa = 0x9c;
    public const byte BitPiece = 0x9d;
    public const byte ImplicitValue = 0x9e;
    public const byte StackValue = 0x9f;
    public const byte ImplicitPointer = 0xa0;
    public const byte Addrx = 0xa1;
    public const byte Constx = 0xa2;
    public const byte EntryValue = 0xa3;
    public const byte ConstType = 0xa4;
    public const byte RegvalType = 0xa5;
    public const byte DerefType = 0xa6;
    public const byte XderefType = 0xa7;
    public const byte Convert = 0xa8;
    public const byte Reinterpret = 0xa9;
    public const byte GnuPushTlsAddress = 0xe0;
    public const byte GnuUninit = 0xf0;
    public const byte GnuImplicitPointer = 0xf2;
    public const byte GnuEntryValue = 0xf3;
    public const byte GnuConstType = 0xf4;
    public const byte GnuRegvalType = 0xf5;
    public const byte GnuDerefType = 0xf6;
    public const byte GnuConvert = 0xf7;
    public const byte GnuReinterpret = 0xf9;
    public const byte GnuParameterRef = 0xfa;
    public const byte GnuAddrIndex = 0xfb;
    public const byte GnuConstIndex = 0xfc;
}
