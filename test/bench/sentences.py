"""Sentences for measuring a sentence encoder: TEST for cosines, CALIBRATION for the ranges of integers. None is in both."""

TEST = [
    "The committee postponed its decision until the engineers had measured the bridge again.",
    "A small boat drifted past the lighthouse while the fog was lifting.",
    "If the cache is cold, the first request takes about four times as long as the next.",
    "She planted the tomatoes in April and lost most of them to a late frost.",
    "오늘 아침에는 비가 와서 버스가 평소보다 늦게 도착했습니다.",
    "Which of these two contracts covers damage during transport?",
    "The violin's upper strings were replaced, but the sound remained thin.",
    "새로 문을 연 도서관은 주말에도 저녁 아홉 시까지 이용할 수 있다.",
]

CALIBRATION = [
    "The train to the coast leaves every hour from platform seven.",
    "Prices rose faster in the second quarter than anyone had expected.",
    "He wrote the parser in an afternoon and its tests in a week.",
    "Boil the potatoes with their skins on, then let them cool.",
    "Nobody could say who had switched off the alarm.",
    "The patient was given ten milligrams twice a day.",
    "회의는 세 시에 시작해서 다섯 시쯤 끝날 예정입니다.",
    "A compiler that is slow is used less than one that is wrong.",
    "The glacier has retreated by almost a kilometre since it was first mapped.",
    "Please return the form, signed, before the end of the month.",
    "Two thirds of the voters were against the new stadium.",
    "그 영화는 원작 소설보다 훨씬 밝은 분위기로 끝난다.",
    "The warranty does not cover water, lightning or theft.",
    "Her second novel is set in a village without roads.",
    "When the queue is full, the sender waits.",
    "The goalkeeper saved the penalty with his left foot.",
    "Add the butter last, in small pieces, off the heat.",
    "서울에서 부산까지 기차로 두 시간 반이 걸린다.",
    "The museum bought the painting for less than it was insured for.",
    "An earthquake of magnitude five was felt in three provinces.",
    "They repaired the roof with slates from the old barn.",
    "The function returns nothing if the list is empty.",
    "What time does the pharmacy on the corner open on Sundays?",
    "배터리를 완전히 충전하면 약 열 시간 동안 쓸 수 있습니다.",
]
